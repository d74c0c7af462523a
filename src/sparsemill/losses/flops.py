"""The FLOPS regulariser (Paria et al., 2004.05665; 2411.04403, Eq. 3), in the reductions public code uses."""

import torch
from torch import Tensor


def flops(documents: Tensor, *, reduction: str = "concatenation", slots: int = 1, idf: Tensor | None = None) -> Tensor:
    """Sum over the vocabulary of the squared mean activation.

    Args:
        documents: [queries * slots, vocabulary], non-negative; row q * slots + k is document k of query q.
        reduction: `concatenation`: the mean is over all rows (sentence-transformers; Eq. 3). `mean_of_slots`: one
            penalty per document slot, averaged (naver/splade, positive and negative apart). `sum_of_slots`: the same
            added up (OpenSearch's sample, about `slots` times Eq. 3).
        slots: documents per query.
        idf: [vocabulary] or None; activations are divided by it inside the penalty (version 1 of 2411.04403).
            Tokens with idf 0 (special tokens, always inactive) are left out.

    Returns:
        A scalar, at least 0.
    """
    if idf is not None:
        documents = torch.where(idf > 0, documents / idf.clamp_min(1e-6), torch.zeros_like(documents))
    if reduction == "concatenation":
        return documents.mean(0).square().sum()
    per_slot = documents.view(-1, slots, documents.shape[1]).mean(0).square().sum(1)
    if reduction == "mean_of_slots":
        return per_slot.mean()
    if reduction == "sum_of_slots":
        return per_slot.sum()
    raise ValueError(f"unknown reduction {reduction!r}")
