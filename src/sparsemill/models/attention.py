"""Attention with dropout on a CPU that keeps a byte, not twelve, of every pair of tokens for its backward pass.

torch has no fused kernel for it there. Its operator computes in float32 and keeps, beside queries, keys and values in
that type, for every pair of tokens and head a probability, the noise of dropout, and their product.
"""

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sparsemill_sdpa"
"""In transformers' registers of attentions."""


def _flat(tensor: Tensor, factor: float = 1.0) -> Tensor:
    """[batch, heads, length, width] times `factor` as [batch * heads, length, width], float32, whatever its layout."""
    copied = torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor)
    return (copied if factor == 1 else copied.mul_(factor)).flatten(0, 1)


def _weights(left: Tensor, right: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax [batch * heads, length, other length] of left [.., length, width] @ right [.., width, other length].

    The operands lie as torch's do, so that every processor adds in the same order; zeros for a token that sees none.
    """
    scores = left @ right
    if mask is None:
        return torch.softmax(scores, -1, out=scores)
    by_text = scores.view(mask.shape[0], -1, *scores.shape[1:])
    by_text += torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, -math.inf)
    torch.softmax(scores, -1, out=scores)
    blind = ~mask.any(-1, keepdim=True)
    if blind.any():
        by_text.masked_fill_(blind, 0.0)
    return scores


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        query, key, value, mask, root, dropout = arguments
        noise = torch.empty(*query.shape[:3], key.shape[2]).bernoulli_(1 - dropout).flatten(0, 1)
        ctx.save_for_backward(query, key, value, mask, noise.bool())
        ctx.root, ctx.dropout = root, dropout
        with torch.autocast("cpu", enabled=False):
            weights = noise.div_(1 - dropout).mul_(_weights(_flat(query, root), _flat(key.mT, root), mask))
            return (weights @ _flat(value)).view(*query.shape[:3], -1).to(query.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, kept = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            gradient, left, right = _flat(gradients[0]), _flat(query, ctx.root), _flat(key.mT, ctx.root)
            weights, noise = _weights(left, right, mask), kept.float().div_(1 - ctx.dropout)
            dropped = weights * noise
            of_value = dropped.transpose(1, 2) @ gradient
            of_weights = torch.bmm(gradient, _flat(value).transpose(1, 2), out=dropped).mul_(noise)
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, torch.float32)
            of_query, of_key = (of_scores @ right.mT).mul_(ctx.root), (left.mT @ of_scores).mul_(ctx.root)
        found = zip((of_query, of_key.mT, of_value), (query, key, value), strict=True)
        return *(one.reshape(of.shape).to(of.dtype) for one, of in found), None, None, None


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scale: float, dropout: float
) -> Tensor:
    """softmax(scale * query key^T) value over what the mask lets see (1706.03762, Eq. 1), with dropout of the softmax.

    Equal to torch's `scaled_dot_product_attention` to the bit, with its draws and its gradients.

    Args:
        query: [batch, heads, length, width], of single or half precision; computed in single.
        key: [batch, heads, other length, width].
        value: as `key`.
        mask: [batch or 1, 1, length or 1, other length], bool, true where a token is seen; or None.
        scale: above 0.
        dropout: in (0, 1); its noise is drawn as torch draws it.

    Returns:
        [batch, heads, length, width].
    """
    arguments = query, key, value, mask, math.sqrt(scale), dropout
    result: Tensor = _Attention.apply(*arguments)  # type: ignore[no-untyped-call]  # torch's own
    return result


def _forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """As transformers calls it: `attention` where there is dropout, on a CPU, and nothing special; else its own."""
    dropout, scale, causal = options.get("dropout", 0.0), options.get("scaling"), options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    mask = attention_mask
    masked = not causal if mask is None else mask.dtype == torch.bool and mask.shape[1] == 1
    plain = masked and query.shape[1] == key.shape[1] and options.get("position_bias") is None
    ours = plain and dropout > 0 and query.device.type == "cpu" and query.dtype != torch.float64
    if not ours or torch.compiler.is_compiling():
        theirs: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **options)
        return theirs
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    result = attention(query, key, value, mask, scale=scale, dropout=dropout)
    return result.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


def use_lean_attention(model: PreTrainedModel, *, lean: bool = True) -> None:
    """Let a model that attends by torch's operator attend by `attention` where that is the same, or back, in place.

    Args:
        model: of transformers; one that attends otherwise (eager, flash) is left alone.
        lean: by `attention`; False puts torch's operator back.
    """
    old, new = ("sdpa", NAME) if lean else (NAME, "sdpa")
    if model.config._attn_implementation == old:
        model.set_attn_implementation(new)
