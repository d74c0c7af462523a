"""Candidates that are likely to be relevant although nobody judged them."""

import numpy as np
from numpy.typing import NDArray


def false_negatives(
    scores: NDArray[np.float32], positive: NDArray[np.bool_], offsets: NDArray[np.int64], *, margin: float
) -> NDArray[np.bool_]:
    """Negatives that a teacher scores above the query's best-scored positive minus a margin.

    Args:
        scores: [rows], the teacher's, query by query.
        positive: [rows], judged relevant; at least one row of each query.
        offsets: [queries + 1], first and past-the-last row of each query.
        margin: in the unit of the scores; larger leaves out more.

    Returns:
        [rows], true where a row is to be left out; never a positive.
    """
    best = np.maximum.reduceat(np.where(positive, scores, -np.inf), offsets[:-1])
    limits = np.repeat(best - margin, np.diff(offsets))
    dropped: NDArray[np.bool_] = ~positive & (scores > limits)
    return dropped
