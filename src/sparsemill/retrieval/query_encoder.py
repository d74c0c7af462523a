"""Queries without inference: a set of word pieces, each with its weight from a table. No torch, no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from sparsemill.data.tokenizer import TOKENIZER, read_tokenizer, read_vocabulary
from sparsemill.errors import UserError
from sparsemill.files import read_json

QUERY_WEIGHTS = "query_weights.json"


class QueryEncoder:
    """Encodes texts by looking weights up.

    Args:
        model: folder with `tokenizer.json` and `query_weights.json`.
        query_length: tokens kept of a query, counted before repeated ones are merged.
        idf: `idf.json` whose weights replace those of the model, special tokens staying 0 (None: the model's own).
        special_tokens: `zero`; or `keep`: those of the table count too, where a text holds such tokens.

    Raises:
        UserError: a file is missing, or the table does not hold just the tokens of the tokenizer.
    """

    def __init__(
        self, model: Path, *, query_length: int, idf: Path | None = None, special_tokens: str = "zero"
    ) -> None:
        self._tokenizer = read_tokenizer(model)
        self._length = query_length
        path = idf or model / QUERY_WEIGHTS
        table: dict[str, float] = read_json(path)
        vocabulary = read_vocabulary(model)
        different = table.keys() ^ set(vocabulary)
        if different:
            some = ", ".join(map(repr, sorted(different)[:3]))
            raise UserError(f"{path}: {len(different)} tokens differ from {model / TOKENIZER}, for example {some}")
        self._weights = np.array([table[token] for token in vocabulary], dtype=np.float32)
        if special_tokens == "zero":
            special = [token for token, added in self._tokenizer.get_added_tokens_decoder().items() if added.special]
            self._weights[special] = 0

    def encode(self, texts: Sequence[str]) -> Any:
        """CSR float32 [texts, vocabulary]: weight of each token that is there, however often.

        No special tokens are added; tokens of weight 0 have no entry, so a row may be empty.
        """
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        rows = [sorted({i for i in encoding.ids[: self._length] if self._weights[i]}) for encoding in encodings]
        columns = np.array([column for row in rows for column in row], dtype=np.int32)
        bounds = np.cumsum([0, *map(len, rows)])
        shape = (len(rows), len(self._weights))
        return sparse.csr_matrix((self._weights[columns], columns, bounds), shape=shape)
