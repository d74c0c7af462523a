"""Affine rescoring: the ensemble's scores in the range of one teacher's (SPLADE-v3, 2403.06789)."""

import numpy as np

from sparsemill.ensemble.normalise import Scores


def rescale(scores: Scores, reference: Scores) -> Scores:
    """a * s + b along the last axis, with mean and standard deviation of the reference's row.

    A constant row of either becomes the reference's mean.

    Args:
        scores: [..., documents], the normalised and averaged scores.
        reference: the same shape, raw scores of one teacher.

    Returns:
        The same shape, float32.
    """
    wide, target = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    deviation = wide.std(axis=-1, keepdims=True)
    # Not `deviation > 0`: the mean of equal numbers may be off by a rounding, which would be blown up.
    varies = scores.max(axis=-1, keepdims=True) > scores.min(axis=-1, keepdims=True)
    shape = np.divide(centred, deviation, out=np.zeros_like(wide), where=varies)
    rescaled = shape * target.std(axis=-1, keepdims=True) + target.mean(axis=-1, keepdims=True)
    return np.asarray(rescaled, dtype=np.float32)
