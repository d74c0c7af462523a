"""Real collections as cheap sparse vectors, and what every engine must agree on with the exact one."""

import json
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from tokenizers import BertWordPieceTokenizer

from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, write_shard


class Vectors(NamedTuple):
    """A collection: ids and CSR float32 of its documents, CSR float32 of its queries."""

    ids: list[str]
    documents: sparse.csr_matrix
    queries: sparse.csr_matrix


@lru_cache
def _tokenizer(shared: Path) -> BertWordPieceTokenizer:
    return BertWordPieceTokenizer(str(shared / "data" / "reference" / "bert-base-uncased-vocab" / "vocab.txt"))


def count_pieces(shared: Path, texts: Iterable[str]) -> sparse.csr_matrix:
    """How often each word piece is in each text."""
    tokenizer = _tokenizer(shared)
    found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    counted = [sorted(Counter(encoding.ids).items()) for encoding in found]
    bounds = np.cumsum([0, *map(len, counted)])
    columns, counts = (np.array([pair[side] for row in counted for pair in row]) for side in (0, 1))
    shape = (len(counted), tokenizer.get_vocab_size())
    return sparse.csr_matrix((counts.astype(np.float32), columns, bounds), shape=shape)


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def word_piece_vectors(shared: Path, name: str, *, queries: int) -> Vectors:
    """A collection of `shared/data/collections`: documents weigh log(1 + tf), the first queries weigh idf."""
    folder = shared / "data" / "collections" / name
    corpus = _lines(folder / "corpus.jsonl")
    asked = [row["text"] for row in _lines(folder / "queries.jsonl")[:queries]]
    documents = count_pieces(shared, (f"{row.get('title', '')} {row['text']}" for row in corpus))
    weighted = count_pieces(shared, asked)
    frequency = np.bincount(documents.indices, minlength=documents.shape[1])
    idf = np.log1p((documents.shape[0] - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    documents.data, weighted.data = np.log1p(documents.data), idf[weighted.indices]
    return Vectors([row["_id"] for row in corpus], documents, weighted)


def write_vectors(folder: Path, vectors: Vectors) -> list[Path]:
    """The documents as one shard."""
    folder.mkdir()
    write_shard(folder, Shard(vectors.ids, vectors.documents))
    return [folder]


def check_same(found: list[list[Hit]], exact: list[list[Hit]], *, tolerance: float) -> None:
    """The same documents with the same scores, but for what the tolerance lets change places.

    A score may differ by the tolerance times the query's best score. A document may be missing, or be there in excess,
    only if its score is as close to the least of the list (a token whose weight is rounded to 0 finds nothing).
    """
    for mine, true in zip(found, exact, strict=True):
        assert len(mine) <= len(true)
        if not true:
            continue
        slack = tolerance * true[0].score
        scores, others = dict(true), dict(mine)
        for doc_id, score in scores.items():
            assert abs(others.get(doc_id, true[-1].score) - score) <= slack, doc_id
        for doc_id in others.keys() - scores.keys():
            assert abs(others[doc_id] - true[-1].score) <= slack, doc_id
        assert [hit.score for hit in mine] == sorted(others.values(), reverse=True)
