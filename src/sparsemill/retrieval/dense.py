"""Exhaustive search with embeddings, block by block."""

from collections.abc import Iterator, Sequence

import numpy as np

from sparsemill.progress import track
from sparsemill.retrieval.runs import Hit
from sparsemill.teachers.cache import EmbeddingCache

QUERIES, DOCUMENTS = 512, 65_536
"""Block size. Scores of one block are held; all embeddings of documents are read once for each block of queries."""


def _merge(best: list[Hit], scores: np.ndarray, ids: Sequence[str], k: int, floor: float) -> list[Hit]:
    # Everything that ties with the k-th is kept until ids decide.
    least = best[-1].score if len(best) == k else -np.inf
    columns = np.flatnonzero((scores >= least) & (scores > floor))
    if len(columns) > k:
        chosen = scores[columns]
        columns = columns[chosen >= np.partition(chosen, -k)[-k]]
    found = best + [Hit(ids[column], float(scores[column])) for column in columns.tolist()]
    return sorted(found, key=lambda hit: (-hit.score, hit.doc_id))[:k]


def search_dense(
    cache: EmbeddingCache,
    rows: Sequence[int],
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    k: int,
    sparse: bool = False,
) -> Iterator[tuple[str, list[Hit]]]:
    """The k documents with the largest dot product, for each query, a block of queries in memory at a time.

    Args:
        cache: embeddings of all queries and documents.
        rows: rows of the queries to search.
        query_ids: ids of those queries.
        document_ids: ids of the documents, in the cache's order.
        k: documents per query; ties go to the smaller id.
        sparse: embeddings are weighted tokens, so that a document without one of the query's is not found.

    Yields:
        Query id and hits, best first.
    """
    floor = 0.0 if sparse else -np.inf
    blocks = range(0, len(rows), QUERIES)
    for start in track(blocks, "search", total=len(blocks), unit="block"):
        chosen = list(rows[start : start + QUERIES])
        best: list[list[Hit]] = [[] for _ in chosen]
        for low in range(0, len(document_ids), DOCUMENTS):
            ids = document_ids[low : low + DOCUMENTS]
            scores = cache.matrix(chosen, range(low, low + len(ids)))
            best = [_merge(hits, row, ids, k, floor) for hits, row in zip(best, scores, strict=True)]
        yield from zip(query_ids[start : start + QUERIES], best, strict=True)
