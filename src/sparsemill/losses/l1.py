"""The L1 regulariser (2107.05720; on queries in 2207.03834 and SPLADE-v3)."""

from torch import Tensor


def l1(vectors: Tensor) -> Tensor:
    """Sum of the activations of a text, mean over texts.

    Args:
        vectors: [texts, vocabulary].

    Returns:
        A scalar, at least 0.
    """
    return vectors.abs().sum(1).mean()
