"""Contrastive loss over each query's row of documents (2107.05720, L_rank-IBN)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def infonce(student: Tensor, positives: Tensor, excluded: Tensor, *, temperature: float = 1.0) -> Tensor:
    """-log of the positive's softmax probability, mean over queries.

    Args:
        student: [queries, documents], raw dot products.
        positives: [queries], column of each query's positive.
        excluded: [queries, documents], True where a document is no negative (another positive, or the positive again).
        temperature: divides the scores.

    Returns:
        A scalar, at least 0.
    """
    scores = student.float().masked_fill(excluded, -torch.inf)
    return cross_entropy(scores / temperature, positives)
