"""Maximum over tokens of the MLM logits, without holding [tokens, vocabulary].

Public code computes all logits, then mask, relu, log and maximum. The maximum commutes with everything monotone that
follows it, so here it is folded into the matrix product, one slice of the vocabulary at a time, on real tokens only.
"""

from itertools import accumulate, groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from sparsemill.models.products import product

CHUNK_BYTES = 2048
"""Of a token's logits that are held at once: 512 vocabulary entries in float32, 1,024 in bfloat16."""

ROWS = 128
"""Tokens of a large product come in multiples of this: batches hold some thousand, hardly ever the same number."""


def columns_at_once(hidden: Tensor) -> int:
    """Vocabulary entries per slice: [tokens, so many] of the type of `hidden` is the largest intermediate."""
    return CHUNK_BYTES // hidden.element_size()


def even_rows(hidden: Tensor) -> Tensor:
    """On a CPU, rows of zeros added up to a multiple of `ROWS`: oneDNN compiles and keeps a kernel for each shape.

    Args:
        hidden: [tokens, width].

    Returns:
        [tokens or up to ROWS - 1 more, width]; as it came where more rows would cost above an eighth, as for a query.
    """
    missing = -len(hidden) % ROWS if hidden.device.type == "cpu" and len(hidden) >= 8 * ROWS else 0
    return torch.cat([hidden, hidden.new_zeros(missing, hidden.shape[1])]) if missing else hidden


def spans(lengths: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(accumulate(lengths, initial=0)))


def equal_lengths(lengths: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Neighbours of one length: tokens of each block, and its shape (documents, length); one call reduces a block."""
    shapes = [(sum(1 for _ in members), length) for length, members in groupby(lengths)]
    return [documents * length for documents, length in shapes], shapes


def _by_integers(hidden: Tensor, weight: Tensor) -> bool:
    """Whether maxima may be taken of the bits: bfloat16 on a CPU, where no NaN could be among the logits.

    A sum is NaN or infinite where an addend is. Integers do not see a NaN whose sign bit is set.
    """
    if hidden.device.type != "cpu" or hidden.dtype != torch.bfloat16:
        return False
    return bool(torch.isfinite(hidden.sum()) & torch.isfinite(weight.sum()))


def _largest(logits: Tensor, *, by_integers: bool) -> Tensor:
    """[documents, columns]: the maximum over tokens of [documents, tokens, columns].

    As integers, bfloat16 are in order where they are not negative and in reverse where they are; torch reduces
    integers eight times as fast (measured on one thread with AVX-512), without converting and comparing with NaN.
    """
    if not by_integers:
        return logits.amax(1)
    bits = logits.view(torch.int16)
    highest = bits.amax(1)
    return torch.where(highest < 0, bits.amin(1), highest).view(torch.bfloat16)


def _parts_of(bias: Tensor, dtype: torch.dtype, *, wide: torch.dtype) -> tuple[Tensor | None, Tensor]:
    """What of the bias is added inside the product, and what after the maximum, both [vocabulary].

    A product in half precision is rounded when it is written. A logit of 1 may be 17 - 16 there, and bfloat16 misses a
    number near 17 by up to a sixteenth, one near 1 by a sixteenth of that.
    """
    if dtype == wide:
        return None, bias.to(wide)
    inside = bias.to(dtype)
    return inside, bias.to(wide) - inside.to(wide)


def _forward(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    tokens, shapes = equal_lengths(lengths)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    output = torch.empty(len(lengths), weight.shape[0], dtype=wide, device=hidden.device)
    rows = torch.split(output, [documents for documents, _ in shapes])
    by_integers = _by_integers(hidden, weight)
    inside, after = _parts_of(bias, hidden.dtype, wide=wide)
    step, count, hidden = columns_at_once(hidden), len(hidden), even_rows(hidden)
    for low in range(0, weight.shape[0], step):
        end = low + step
        logits = product(hidden, weight[low:end], None if inside is None else inside[low:end])
        parts = torch.split(logits[:count], tokens)
        for block, part, shape in zip(rows, parts, shapes, strict=True):
            block[:, low:end] = _largest(part.view(*shape, -1), by_integers=by_integers)
    output += after
    return output


class _MaxLogits(torch.autograd.Function):
    """Backward touches only the entries that got a gradient, that is the active ones, at the token of their maximum."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
        ctx.dtypes, ctx.lengths = (hidden.dtype, weight.dtype, bias.dtype), lengths
        dtype = autocast_dtype(hidden)
        hidden = hidden.to(dtype)
        ctx.save_for_backward(hidden, weight)  # backward makes few rows of half precision again
        return _forward(hidden, weight.to(dtype), bias, lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight = ctx.saved_tensors
        gradient = gradients[0]
        wide = torch.promote_types(hidden.dtype, torch.float32)
        kind = wide if hidden.device.type == "cpu" else hidden.dtype
        d_hidden = torch.zeros_like(hidden, dtype=wide)
        d_weight = torch.zeros_like(weight, dtype=wide)
        for row, (start, end) in enumerate(spans(ctx.lengths)):
            active = gradient[row].nonzero().squeeze(1)
            tokens, columns = hidden[start:end], weight[active].to(hidden.dtype)
            # Not by `product`: documents differ in their active entries, and oneDNN would compile each product anew.
            winner = (columns.to(kind) @ tokens.to(kind).T).argmax(1)
            scale = gradient[row, active].to(wide).unsqueeze(1)
            d_hidden[start:end].index_add_(0, winner, scale * columns)
            d_weight.index_add_(0, active, scale * tokens[winner])
        of_hidden, of_weight, of_bias = ctx.dtypes
        return d_hidden.to(of_hidden), d_weight.to(of_weight), gradient.sum(0).to(of_bias), None


def autocast_dtype(hidden: Tensor) -> torch.dtype:
    """The type in which to multiply: that of autocast where it is on, which does not cover functions of our own."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def check_lengths(hidden: Tensor, lengths: list[int]) -> None:
    """Raise a ValueError unless `lengths` cut the tokens into non-empty documents."""
    if min(lengths, default=0) < 1 or sum(lengths) != hidden.shape[0]:
        raise ValueError(f"lengths {lengths} do not cut {hidden.shape[0]} tokens into non-empty documents")


def max_logits(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    """The largest logit of each vocabulary entry over the tokens of each document.

    Equals `(hidden @ weight.T + bias)` reduced by a maximum per document, but for the rounding of a library that adds
    in another order for another shape (`sparsemill.models.products`); differentiable in all three tensors. In half
    precision the bias is added before a product is rounded.

    Args:
        hidden: [tokens, width], the decoder's input, documents one after the other, without padding.
        weight: [vocabulary, width], the decoder.
        bias: [vocabulary].
        lengths: tokens of each document, each at least 1, adding up to `tokens`.

    Returns:
        [documents, vocabulary], float32, or float64 if `hidden` is.
    """
    check_lengths(hidden, lengths)
    result: Tensor = _MaxLogits.apply(hidden, weight, bias, lengths)  # type: ignore[no-untyped-call]  # torch's own
    return result
