"""Losses of a cross-encoder: a score for each pair of a query and a document."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from sparsemill.losses.infonce import infonce


def pair_loss(scores: torch.Tensor, *, loss: str) -> torch.Tensor:
    """Loss of rows of scores whose first column is the positive.

    Args:
        scores: [queries, documents].
        loss: binary: mean cross-entropy of every pair's label; listwise: -log softmax of the positive in its row.
    """
    if loss == "binary":
        labels = torch.zeros_like(scores)
        labels[:, 0] = 1
        return binary_cross_entropy_with_logits(scores, labels)
    first = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return infonce(scores, first, torch.zeros_like(scores, dtype=torch.bool), temperature=1.0)
