"""A masked language model with fewer tokens: those that a collection's documents have.

The decoder is most of a small model's work. No document has the tokens that go, so a query could match them only where
a document is expanded by them; why that is little: docs/decisions/0017-demo-vocabulary.md. Neither paper does this.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from sparsemill.data.idf import count_document_frequencies
from sparsemill.data.tokenizer import TOKENIZER
from sparsemill.errors import UserError
from sparsemill.files import read_json, write_text


def _spells(token: str, prefix: str) -> bool:
    """Whether it is one ASCII character, at a word's beginning or within; with them all, any word can be spelled."""
    character = token.removeprefix(prefix)
    return len(character) == 1 and character.isascii()


def kept_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
    """Ids of the tokens to keep, ascending: those of the texts, special tokens and ASCII characters.

    Args:
        tokenizer: of kind WordPiece, where every part of the vocabulary is a vocabulary.
        texts: read once, in batches.

    Raises:
        UserError: another kind of tokenizer.
    """
    described = json.loads(tokenizer.to_str())
    model = described["model"]
    if model["type"] != "WordPiece":
        raise UserError(f"vocabulary: only WordPiece can be cut, this tokenizer is {model['type']}; leave it empty")
    counts = count_document_frequencies(texts, tokenizer).counts
    added = {entry["id"] for entry in described["added_tokens"]}
    prefix = model["continuing_subword_prefix"]
    return sorted(added | {row for token, row in model["vocab"].items() if counts[row] or _spells(token, prefix)})


def cut_model(model: Any, kept: list[int]) -> None:
    """Keep these rows of embeddings and decoder, in this order, in place; ids in its config are numbered anew.

    Args:
        model: a masked language model of transformers, embeddings and decoder [vocabulary, width], tied or not, decoder
            bias [vocabulary]; afterwards `len(kept)` takes the place of `vocabulary`.
        kept: token ids, ascending, each once, special tokens among them.
    """
    rows = torch.tensor(kept)
    decoder, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    parts: list[nn.Parameter] = [embeddings.weight, decoder.bias]
    if decoder.weight is not embeddings.weight:
        parts.append(decoder.weight)
    with torch.no_grad():
        for part in parts:
            part[: len(rows)] = part[rows]
    model.resize_token_embeddings(len(rows))
    for name, old in model.config.to_dict().items():
        if name.endswith("_token_id") and isinstance(old, int):
            setattr(model.config, name, kept.index(old) if old in kept else None)
    model.get_input_embeddings().padding_idx = model.config.pad_token_id


def cut_tokenizer(folder: Path, kept: list[int]) -> None:
    """Keep these tokens of a saved tokenizer, numbered anew from 0 in this order.

    Args:
        folder: where `tokenizer.json` lies; it is written anew.
        kept: token ids, ascending, each once, special tokens among them.
    """
    described = read_json(folder / TOKENIZER)
    new = {old: number for number, old in enumerate(kept)}
    vocabulary = described["model"]["vocab"]
    described["model"]["vocab"] = {
        token: new[old] for token, old in sorted(vocabulary.items(), key=lambda entry: entry[1]) if old in new
    }
    for entry in described["added_tokens"]:
        entry["id"] = new[entry["id"]]
    processor = described.get("post_processor") or {}
    for entry in processor.get("special_tokens", {}).values():
        entry["ids"] = [new[old] for old in entry["ids"]]
    for end in ("sep", "cls"):
        if end in processor:
            processor[end] = [processor[end][0], new[processor[end][1]]]
    padding = described.get("padding")
    if padding:
        padding["pad_id"] = new[padding["pad_id"]]
    write_text(folder / TOKENIZER, json.dumps(described, ensure_ascii=False))
