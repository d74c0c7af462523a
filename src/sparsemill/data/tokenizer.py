"""A model's fast tokenizer, read without torch or transformers."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sparsemill.errors import UserError

TOKENIZER = "tokenizer.json"


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder, without padding or truncation.

    Raises:
        UserError: there is none.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise UserError(f"{path}: no such file; the model needs a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read_vocabulary(folder: Path) -> list[str]:
    """The tokens of a model's tokenizer in the order of their ids, special tokens included.

    Raises:
        UserError: there is no tokenizer, or its ids have gaps.
    """
    ids: dict[str, int] = read_tokenizer(folder).get_vocab(with_added_tokens=True)
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise UserError(f"{folder / TOKENIZER}: {len(tokens)} tokens, but their ids are not 0 to {len(tokens) - 1}")
    return tokens
