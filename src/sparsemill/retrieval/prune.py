"""Drop the weakest weights of sparse vectors, vector by vector."""

from typing import Any, TypedDict

import numpy as np
from scipy import sparse


class Pruning(TypedDict, total=False):
    """What `prune` is told; see there."""

    max_ratio: float | None
    top_k: int | None


def prune(matrix: Any, *, max_ratio: float | None = None, top_k: int | None = None) -> Any:
    """Drop weights below a share of their vector's largest, and all but the k largest.

    Both may be given; in which order they act makes no difference.

    Args:
        matrix: CSR [texts, vocabulary], weights at least 0; it is not changed.
        max_ratio: in (0, 1); a weight below it times the vector's largest is dropped (`max_ratio` of OpenSearch's
            `prune_type`). None: none is.
        top_k: weights kept of a vector, of equal ones those with the smaller token id (SpladeTopK of naver/splade).
            None: all.

    Returns:
        CSR [texts, vocabulary] without stored zeros, column indices sorted.
    """
    pruned = sparse.csr_matrix(matrix, copy=True)
    pruned.sort_indices()
    sizes = np.diff(pruned.indptr)
    rows = np.repeat(np.arange(pruned.shape[0]), sizes)
    if max_ratio is not None:
        largest = np.zeros(pruned.shape[0], dtype=pruned.dtype)
        np.maximum.at(largest, rows, pruned.data)
        pruned.data[pruned.data < max_ratio * largest[rows]] = 0
    if top_k is not None:
        order = np.lexsort((pruned.indices, -pruned.data, rows))
        rank = np.arange(len(order)) - pruned.indptr[rows]
        pruned.data[order[rank >= top_k]] = 0
    pruned.eliminate_zeros()
    return pruned
