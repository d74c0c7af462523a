"""The term that keeps representations from vanishing (the code of SPLADE-v3, naver/splade)."""

from torch import Tensor


def anti_zero(queries: Tensor, documents: Tensor) -> Tensor:
    """1 / (sum of all query activations)^2 + 1 / (sum of all document activations)^2.

    Args:
        queries: [queries, vocabulary], non-negative.
        documents: [documents, vocabulary], non-negative.

    Returns:
        A scalar above 0; infinite where a side is all zero.
    """
    return queries.sum().square().reciprocal() + documents.sum().square().reciprocal()
