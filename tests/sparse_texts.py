"""Learned-like sparse vectors of real texts, made without a model: log term frequencies, and IDF on the query side."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import sparse

from sparsemill.retrieval.vectors import Shard, write_shard

_WORD = re.compile(r"[a-z]+|[0-9]+|[^\sa-z0-9]")


def _texts(path: Path) -> dict[str, str]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["_id"]: f"{row.get('title', '')} {row['text']}".lower() for row in rows}


def real_vectors(
    shared: Path, folder: Path, collection: str, *, queries: int
) -> tuple[list[Path], list[str], sparse.csr_matrix, sparse.csr_matrix]:
    """Write two shards of a collection's documents, with the tokens that some query has.

    Returns:
        The shards, the vocabulary (words, numbers and marks, dots among them), CSR queries, and the documents as one
        CSR matrix; both float32.
    """
    source = shared / "data" / "collections" / collection
    documents = _texts(source / "corpus.jsonl")
    asked = [set(_WORD.findall(text)) for text in list(_texts(source / "queries.jsonl").values())[:queries]]
    counted = [Counter(_WORD.findall(text)) for text in documents.values()]
    vocabulary = sorted(set().union(*asked) & set().union(*counted))
    place = {word: number for number, word in enumerate(vocabulary)}
    rows = [{place[word]: words[word] for word in vocabulary if word in words} for words in counted]
    frequency = Counter(column for row in rows for column in row)
    idf = {column: float(np.log(1 + len(rows) / count)) for column, count in frequency.items()}

    def matrix(entries: list[dict[int, float]]) -> sparse.csr_matrix:
        columns = [column for row in entries for column in row]
        weights = [weight for row in entries for weight in row.values()]
        bounds = np.cumsum([0, *map(len, entries)])
        return sparse.csr_matrix((np.float32(weights), columns, bounds), shape=(len(entries), len(place)))

    # Weights of a model are no round numbers; the length of the text makes them so here.
    lengths = [np.log(3 + words.total()) for words in counted]
    weighed = [
        {column: np.log1p(times) / length for column, times in row.items()}
        for row, length in zip(rows, lengths, strict=True)
    ]
    vectors = matrix(weighed)
    shards, middle = [folder / "shard-0000", folder / "shard-0001"], len(rows) // 3
    ids = list(documents)
    for shard, part in zip(shards, (slice(0, middle), slice(middle, None)), strict=True):
        shard.mkdir()
        write_shard(shard, Shard(ids[part], vectors[part]))
    words = [[place[word] for word in vocabulary if word in query] for query in asked]
    return shards, vocabulary, matrix([{column: idf[column] for column in row} for row in words]), vectors
