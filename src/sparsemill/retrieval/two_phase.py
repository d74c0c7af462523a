"""Two-phase search: tokens of high weight find a window of documents, tokens of low weight then finish its scores.

The rule of OpenSearch's `neural_sparse_two_phase_processor` (documentation of 3.3, "Neural sparse query two-phase
processor"), with its defaults. A document outside the window is never returned, so recall at a large k suffers first.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sparsemill.errors import UserError

Array = np.ndarray[Any, Any]


class TwoPhase(NamedTuple):
    """How a query is cut and how far its first phase looks.

    Attributes:
        prune_ratio: a token is of high weight if its weight is at least this part of the query's largest, in [0, 1).
        expansion_rate: documents of the first phase, as a multiple of k, at least 1.
        max_window_size: most documents of the first phase.
    """

    prune_ratio: float = 0.4
    expansion_rate: float = 5.0
    max_window_size: int = 10_000


class Found(NamedTuple):
    """Documents of one query, best first.

    Attributes:
        documents: int [n], places in the corpus.
        scores: float32 [n].
    """

    documents: Array
    scores: Array


def split_queries(queries: Any, prune_ratio: float) -> tuple[Any, Any]:
    """Tokens of high and of low weight.

    Args:
        queries: CSR [queries, vocabulary], weights that are not negative.
        prune_ratio: see `TwoPhase`; the threshold is computed in float32, as the processor does.

    Returns:
        Two CSR float32 matrices of the shape of `queries`; their sum is `queries`.
    """
    weights = queries.data.astype(np.float32)
    rows = np.repeat(np.arange(queries.shape[0]), np.diff(queries.indptr))
    largest = np.zeros(queries.shape[0], dtype=np.float32)
    np.maximum.at(largest, rows, weights)
    high = weights >= np.float32(prune_ratio) * largest[rows]
    return _part(queries, weights, high), _part(queries, weights, ~high)


def _part(queries: Any, weights: Array, kept: Array) -> Any:
    bounds = np.concatenate([[0], np.cumsum(kept)])[queries.indptr]
    return sparse.csr_matrix((weights[kept], queries.indices[kept], bounds), shape=queries.shape)


def expanded(k: int, rate: float) -> int:
    """k times `expansion_rate` without its fraction, computed in float32 as the processor does."""
    return int(np.float32(k) * np.float32(rate))


def window_size(k: int, settings: TwoPhase) -> int:
    """Documents of the first phase.

    Raises:
        UserError: more than `max_window_size`, which OpenSearch refuses too.
    """
    size = expanded(k, settings.expansion_rate)
    if size > settings.max_window_size:
        raise UserError(
            f"two-phase search: {k} documents x expansion_rate {settings.expansion_rate:g} are more than "
            f"max_window_size {settings.max_window_size}; lower expansion_rate or raise max_window_size"
        )
    return size


def combine(first: Found, low_scores: Array, k: int) -> Found:
    """Add the scores of the second phase and keep the k best; of equal scores, the smaller document first."""
    scores = first.scores + low_scores
    order = np.lexsort((first.documents, -scores))[:k]
    return Found(first.documents[order], scores[order])
