"""An ensemble as a retriever: its teachers' runs, normalised per query and added."""

from collections.abc import Sequence

import numpy as np

from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import Scores, normalise
from sparsemill.retrieval.runs import Hit, Run


def _column(hits: Sequence[Hit], documents: Sequence[str], k: int) -> Scores:
    """Scores of the documents; one that a teacher did not return counts as its last, or as 0 after fewer than k."""
    found = {hit.doc_id: hit.score for hit in hits}
    lowest = min(found.values()) if len(found) >= k else 0.0
    return np.array([found.get(document, lowest) for document in documents], dtype=np.float32)


def fuse(runs: Sequence[Run], *, normalisation: str, weights: Sequence[float] | None, k: int) -> Run:
    """Fuse runs as 2411.04403 fuses teachers (Eqs. 8 and 9).

    Args:
        runs: one per teacher, cut at `k`; where one has fewer hits, its teacher gives every other document 0.
        normalisation: see `sparsemill.ensemble.normalise`; over the union of the runs' documents.
        weights: one per run, or None for the mean.
        k: documents kept per query; ties go to the smaller id.
    """
    fused: Run = {}
    for query in dict.fromkeys(query for run in runs for query in run):
        lists = [run.get(query, []) for run in runs]
        documents = sorted({hit.doc_id for hits in lists for hit in hits})
        if not documents:
            fused[query] = []
            continue
        columns = [normalise(_column(hits, documents, k), normalisation) for hits in lists]
        scores = aggregate(columns, weights=weights, scale=1.0)
        order = np.argsort(-scores, kind="stable")[:k]
        fused[query] = [Hit(documents[index], float(scores[index])) for index in order]
    return fused
