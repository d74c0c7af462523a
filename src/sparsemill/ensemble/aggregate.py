"""Aggregation of normalised teacher scores (2411.04403, Eq. 9)."""

from collections.abc import Sequence

import numpy as np

from sparsemill.ensemble.normalise import Scores


def equal_weights(teachers: int) -> list[float]:
    """Weights of the arithmetic mean."""
    return [1.0 / teachers] * teachers


def aggregate(normalised: Sequence[Scores], *, weights: Sequence[float] | None, scale: float) -> Scores:
    """S * sum_j w_j * s_j, with normalised s_j (Eq. 9; the paper omits the hat, a slip).

    Args:
        normalised: one array per teacher, all of one shape.
        weights: one per teacher, or None for the arithmetic mean.
        scale: S, brings the targets to the range of the student's scores.
    """
    chosen = equal_weights(len(normalised)) if weights is None else weights
    if len(chosen) != len(normalised):
        raise ValueError(f"{len(normalised)} teachers but {len(chosen)} weights")
    total = sum(
        (np.float32(weight) * scores for weight, scores in zip(chosen, normalised, strict=True)),
        start=np.zeros_like(normalised[0]),
    )
    return (np.float32(scale) * total).astype(np.float32)
