"""Inverse document frequencies of word pieces."""

import json
import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tokenizers import Tokenizer

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_text

_BATCH = 256


class DocumentFrequencies(NamedTuple):
    """How many documents hold each token.

    Attributes:
        counts: document frequency by token id, int64, [vocabulary].
        documents: number of documents with at least one token.
    """

    counts: NDArray[np.int64]
    documents: int


def idf(document_frequency: ArrayLike, documents: int) -> NDArray[np.float64]:
    """ln(1 + (N - df + 0.5) / (df + 0.5)), and exactly 1 for a token that no document holds.

    The value for absent tokens is that of the published table of the inference-free OpenSearch models.

    Args:
        document_frequency: df, any shape, each between 0 and `documents`.
        documents: N.

    Returns:
        Array of the same shape, each value greater than 0.
    """
    df = np.asarray(document_frequency, dtype=np.float64)
    return np.where(df == 0, 1.0, np.log1p((documents - df + 0.5) / (df + 0.5)))


def count_document_frequencies(texts: Iterable[str], tokenizer: Tokenizer) -> DocumentFrequencies:
    """Count in how many texts each token occurs; special tokens are not added. Texts are read in batches."""
    counts = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=np.int64)
    documents = 0
    texts = iter(texts)
    while batch := list(islice(texts, _BATCH)):
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            distinct = np.unique(np.asarray(encoding.ids, dtype=np.int64))
            counts[distinct] += 1
            documents += distinct.size > 0
    return DocumentFrequencies(counts, documents)


def token_idfs(frequencies: DocumentFrequencies, tokenizer: Tokenizer) -> dict[str, float]:
    """The IDF of every token of the vocabulary, in the order of the token ids."""
    by_id = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    values = idf(frequencies.counts[[number for number, _ in by_id]], frequencies.documents)
    return dict(zip((token for _, token in by_id), values.tolist(), strict=True))


def read_idfs(path: Path, tokenizer: Tokenizer) -> dict[str, float]:
    """Read a table that was made elsewhere, such as OpenSearch's `idf.json`.

    Args:
        path: JSON `{token: weight}`.
        tokenizer: whose tokens the table must hold, each of them and no other.

    Returns:
        The weights in the order of the token ids.

    Raises:
        UserError: no such file or table, a token is missing or unknown, or a weight is not above 0.
    """
    table: Any = read_json(path)
    if not isinstance(table, dict):
        raise UserError(f"{path}: expected a JSON object {{token: weight}}")
    vocabulary = tokenizer.get_vocab()
    different = sorted(table.keys() ^ vocabulary.keys())
    if different:
        some = ", ".join(map(repr, different[:3]))
        raise UserError(
            f"{path}: {len(different)} tokens differ from the backbone's vocabulary, for example {some}; "
            "name the backbone that the table was made for"
        )
    for token, weight in table.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"{path}: the weight of {token!r} is {weight!r}; expected a number above 0")
    return {token: float(table[token]) for token in sorted(vocabulary, key=vocabulary.__getitem__)}


def write_idfs(path: Path, idfs: dict[str, float]) -> None:
    """Write `{token: idf}` as JSON, in the order given, atomically."""
    write_text(path, json.dumps(idfs, indent=0, ensure_ascii=False, allow_nan=False) + "\n")
