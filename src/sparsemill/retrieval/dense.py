"""Exhaustive search with embeddings, block by block."""

from collections.abc import Sequence

import numpy as np

from sparsemill.progress import track
from sparsemill.retrieval.runs import Hit, Run
from sparsemill.teachers.cache import EmbeddingCache

QUERIES, DOCUMENTS = 64, 65_536
"""Block size; scores of one block are all that is held."""


def _merge(best: list[Hit], scores: np.ndarray, ids: Sequence[str], k: int, floor: float) -> list[Hit]:
    # Everything that ties with the k-th is kept until ids decide.
    least = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    kept = (scores >= least) & (scores > floor)
    found = best + [Hit(ids[int(column)], float(scores[column])) for column in np.flatnonzero(kept)]
    return sorted(found, key=lambda hit: (-hit.score, hit.doc_id))[:k]


def search_dense(
    cache: EmbeddingCache,
    rows: Sequence[int],
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    k: int,
    sparse: bool = False,
) -> Run:
    """The k documents with the largest dot product, for each query.

    Args:
        cache: embeddings of all queries and documents.
        rows: rows of the queries to search.
        query_ids: ids of those queries.
        document_ids: ids of the documents, in the cache's order.
        k: documents per query; ties go to the smaller id.
        sparse: embeddings are weighted tokens, so that a document without one of the query's is not found.
    """
    floor = 0.0 if sparse else -np.inf
    run: Run = {}
    blocks = range(0, len(rows), QUERIES)
    for start in track(blocks, "search", total=len(blocks), unit="block"):
        chosen = list(rows[start : start + QUERIES])
        best: list[list[Hit]] = [[] for _ in chosen]
        for low in range(0, len(document_ids), DOCUMENTS):
            ids = document_ids[low : low + DOCUMENTS]
            scores = cache.matrix(chosen, range(low, low + len(ids)))
            best = [_merge(hits, row, ids, k, floor) for hits, row in zip(best, scores, strict=True)]
        run |= dict(zip(query_ids[start : start + QUERIES], best, strict=True))
    return run
