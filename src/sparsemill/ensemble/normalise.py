"""Normalisation of teacher scores, per query (2411.04403, Eq. 8, and its alternatives).

One implementation, used by the rule on candidate lists and by the training collator on in-batch rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


def _moderate(scores: Scores) -> Scores:
    """Each row times a power of two, its largest magnitude between 0.5 and 1: exact, and no square leaves float32."""
    _, exponents = np.frexp(np.abs(scores).max(axis=-1, keepdims=True))
    moderate: Scores = np.ldexp(scores, -exponents)
    return moderate


def minmax(scores: Scores) -> Scores:
    """(s - min) / (max - min) along the last axis, in [0, 1]; a constant row becomes 0 (Eq. 8)."""
    scores = _moderate(scores)
    low = scores.min(axis=-1, keepdims=True)
    span = scores.max(axis=-1, keepdims=True) - low
    scaled: Scores = np.divide(scores - low, span, out=np.zeros_like(scores), where=span > 0)
    return scaled


def zscore(scores: Scores) -> Scores:
    """(s - mean) / standard deviation along the last axis; a constant row becomes 0."""
    scores = _moderate(scores)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    deviation = scores.std(axis=-1, keepdims=True)
    # Not `deviation > 0`: the mean of equal float32 numbers may be off by one unit, which would be blown up to 1.
    varies = scores.max(axis=-1, keepdims=True) > scores.min(axis=-1, keepdims=True)
    scaled: Scores = np.divide(centred, deviation, out=np.zeros_like(scores), where=varies)
    return scaled


def rank(scores: Scores) -> Scores:
    """Mean rank along the last axis, scaled to [0, 1], best 1; ties share their mean; a row of one becomes 0."""
    from scipy.stats import rankdata

    count = scores.shape[-1]
    if count == 1:
        return np.zeros_like(scores)
    ranks: Scores = ((rankdata(scores, axis=-1) - 1) / (count - 1)).astype(np.float32)
    return ranks


def softmax(scores: Scores) -> Scores:
    """exp(s) / sum exp(s) along the last axis, in [0, 1], adding up to 1."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Scores = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def none(scores: Scores) -> Scores:
    """Scores as they are."""
    return scores


METHODS: dict[str, Callable[[Scores], Scores]] = {
    "minmax": minmax,
    "zscore": zscore,
    "rank": rank,
    "softmax": softmax,
    "none": none,
}


def normalise(scores: Scores, method: str) -> Scores:
    """Normalise teacher scores per query.

    Args:
        scores: [..., documents], one row per query, at least one document.
        method: a key of `METHODS`.

    Returns:
        The same shape, float32.
    """
    return METHODS[method](np.asarray(scores, dtype=np.float32))
