"""Sum over tokens of the activated MLM logits (SPLADE-sum), without holding [tokens, vocabulary].

A sum does not commute with the activation as a maximum does, so every logit counts and gets a gradient. They are
computed a slice of the vocabulary at a time, and once more in the backward pass instead of being kept.
"""

from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from sparsemill.models.activation import activate, slope
from sparsemill.models.max_logits import autocast_dtype, check_lengths

CHUNK = 1024
"""Vocabulary entries per slice: [tokens, CHUNK] is the largest intermediate."""


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor, part: slice) -> Tensor:
    wide = torch.promote_types(hidden.dtype, torch.float32)
    return (hidden @ weight[part].to(hidden.dtype).T).to(wide) + bias[part].to(wide)


class _SumActivations(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        hidden, weight, bias, lengths, activation = inputs
        ctx.dtype = hidden.dtype
        hidden = hidden.to(autocast_dtype(hidden))  # here, so that the backward pass makes the same logits
        ctx.save_for_backward(hidden, weight, bias)
        ctx.lengths, ctx.activation = lengths, activation
        wide = torch.promote_types(hidden.dtype, torch.float32)
        output = torch.empty(len(lengths), weight.shape[0], dtype=wide, device=hidden.device)
        spans = list(pairwise(accumulate(lengths, initial=0)))
        for low in range(0, weight.shape[0], CHUNK):
            part = slice(low, low + CHUNK)
            weights = activate(_logits(hidden, weight, bias, part), activation)
            for row, (start, end) in enumerate(spans):
                output[row, part] = weights[start:end].sum(0)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, bias = ctx.saved_tensors
        wide = torch.promote_types(hidden.dtype, torch.float32)
        counts = torch.tensor(ctx.lengths, device=hidden.device)
        d_hidden = torch.zeros_like(hidden, dtype=wide)
        d_weight, d_bias = torch.empty_like(weight, dtype=wide), torch.empty_like(bias, dtype=wide)
        for low in range(0, weight.shape[0], CHUNK):
            part = slice(low, low + CHUNK)
            d_logits = slope(_logits(hidden, weight, bias, part), ctx.activation)
            d_logits *= gradients[0][:, part].to(wide).repeat_interleave(counts, 0)
            d_hidden += d_logits @ weight[part].to(wide)
            d_weight[part] = d_logits.T @ hidden.to(wide)
            d_bias[part] = d_logits.sum(0)
        return d_hidden.to(ctx.dtype), d_weight.to(weight.dtype), d_bias.to(bias.dtype), None, None


def sum_activations(
    hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int], *, activation: str = "log1p_relu"
) -> Tensor:
    """The sum of each vocabulary entry's activated logits over the tokens of each document (2107.05720).

    Equals `activate(hidden @ weight.T + bias)` summed per document; differentiable in all three tensors.

    Args:
        hidden: [tokens, width], the decoder's input, documents one after the other, without padding.
        weight: [vocabulary, width], the decoder.
        bias: [vocabulary].
        lengths: tokens of each document, each at least 1, adding up to `tokens`.
        activation: see `activate`.

    Returns:
        [documents, vocabulary], at least 0, float32, or float64 if `hidden` is.
    """
    check_lengths(hidden, lengths)
    result: Tensor = _SumActivations.apply(hidden, weight, bias, lengths, activation)  # type: ignore[no-untyped-call]
    return result
