"""Maximum over tokens of the MLM logits as one GPU kernel: the logits never leave the chip.

The idea is that of Sparton (2603.25011): fold the maximum into the tiles of the matrix product, keep the token that
won, and send gradients through that token alone. Here documents lie one after the other without padding, the activation
stays outside, and the backward pass runs over the entries with a gradient, without atomic additions.

Tile sizes are fixed, not tuned at run time: a tuned size could change the order of additions from run to run.
With `TRITON_INTERPRET=1` the kernels run on CPU tensors, slowly, which is how they are tested without a GPU.
"""

from itertools import accumulate
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparsemill.models.max_logits import autocast_dtype, check_lengths

TOKENS, VOCABULARY = 64, 128
"""Tile of the logits that a program holds at a time."""
ENTRIES, WIDTH = 16, 128
"""Tile of the backward pass: entries added up at a time, and columns of the result per program."""


@triton.jit  # type: ignore[untyped-decorator]
def _largest(  # type: ignore[no-untyped-def]
    hidden,
    weight,
    bias,
    starts,
    output,
    winners,
    vocabulary,
    width,
    WINNERS: tl.constexpr,
    WIDEN: tl.constexpr,
    TOKENS: tl.constexpr,
    VOCABULARY: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One document and VOCABULARY entries: running maximum over the document's tokens, the first of equals wins."""
    document = tl.program_id(0).to(tl.int64)  # neighbours share the slice of `weight`, which stays in the cache
    columns = tl.program_id(1).to(tl.int64) * VOCABULARY + tl.arange(0, VOCABULARY)
    known = columns < vocabulary
    start = tl.load(starts + document)
    end = tl.load(starts + document + 1)
    best = tl.full((VOCABULARY,), float("-inf"), tl.float32)
    winner = tl.zeros((VOCABULARY,), tl.int32) + start
    for low in range(start, end, TOKENS):
        tokens = low + tl.arange(0, TOKENS)
        real = tokens < end
        rows = tokens.to(tl.int64) * width
        logits = tl.zeros((TOKENS, VOCABULARY), tl.float32)
        for left in range(0, width, WIDTH):
            places = left + tl.arange(0, WIDTH)
            inside = places < width
            h = tl.load(hidden + rows[:, None] + places[None, :], mask=real[:, None] & inside[None, :], other=0.0)
            w = tl.load(
                weight + columns[None, :] * width + places[:, None], mask=inside[:, None] & known[None, :], other=0.0
            )
            if WIDEN:
                h, w = h.to(tl.float32), w.to(tl.float32)
            logits = tl.dot(h, w, logits, input_precision="ieee")
        # A NaN loses every comparison; as infinity it reaches the loss, where it stops the training.
        logits = tl.where(logits == logits, logits, float("inf"))
        logits = tl.where(real[:, None], logits, float("-inf"))
        value, place = tl.max(logits, 0, return_indices=True)
        better = value > best
        best = tl.where(better, value, best)
        winner = tl.where(better, low + place.to(tl.int32), winner)
    shift = tl.load(bias + columns, mask=known, other=0.0).to(tl.float32)
    tl.store(output + document * vocabulary + columns, best + shift, mask=known)
    if WINNERS:
        tl.store(winners + document * vocabulary + columns, winner, mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _add_rows(  # type: ignore[no-untyped-def]
    pointers, scales, indices, source, output, width, ENTRIES: tl.constexpr, WIDTH: tl.constexpr
):
    """output[r] = sum of scales[e] * source[indices[e]] over the entries e of row r: a sparse times a dense matrix."""
    row = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = places < width
    start = tl.load(pointers + row)
    end = tl.load(pointers + row + 1)
    total = tl.zeros((WIDTH,), tl.float32)
    for low in range(start, end, ENTRIES):
        entries = low + tl.arange(0, ENTRIES)
        real = entries < end
        scale = tl.load(scales + entries, mask=real, other=0.0)
        chosen = tl.load(indices + entries, mask=real, other=0) * width
        part = tl.load(source + chosen[:, None] + places[None, :], mask=real[:, None] & inside[None, :], other=0.0)
        total += tl.sum(part.to(tl.float32) * scale[:, None], 0)
    tl.store(output + row * width + places, total, mask=inside)


def _forward(hidden: Tensor, weight: Tensor, bias: Tensor, starts: Tensor, *, winners: bool) -> tuple[Tensor, Tensor]:
    documents, vocabulary = len(starts) - 1, weight.shape[0]
    output = torch.empty(documents, vocabulary, dtype=torch.float32, device=hidden.device)
    winner = torch.empty(output.shape if winners else (1, 1), dtype=torch.int32, device=hidden.device)
    _largest[(documents, triton.cdiv(vocabulary, VOCABULARY))](
        hidden,
        weight,
        bias,
        starts,
        output,
        winner,
        vocabulary,
        hidden.shape[1],
        WINNERS=winners,
        # Triton's interpreter would multiply the bits of bfloat16 as integers.
        WIDEN=triton.knobs.runtime.interpret and hidden.dtype == torch.bfloat16,
        TOKENS=TOKENS,
        VOCABULARY=VOCABULARY,
        WIDTH=32 if hidden.dtype == torch.float32 else 64,
    )
    return output, winner


def _scatter(rows: Tensor, scales: Tensor, indices: Tensor, source: Tensor, *, size: int, dtype: torch.dtype) -> Tensor:
    """[size, width]: row r is the sum of scales[e] * source[indices[e]] over the entries with rows[e] = r."""
    order = rows.sort(stable=True)
    pointers = torch.searchsorted(order.values, torch.arange(size + 1, device=rows.device))
    output = torch.empty(size, source.shape[1], dtype=dtype, device=source.device)
    _add_rows[(size, triton.cdiv(source.shape[1], WIDTH))](
        pointers,
        scales[order.indices],
        indices[order.indices],
        source,
        output,
        source.shape[1],
        ENTRIES=ENTRIES,
        WIDTH=WIDTH,
    )
    return output


class _MaxLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, starts: Tensor) -> Tensor:
        ctx.dtypes = hidden.dtype, weight.dtype, bias.dtype
        dtype = autocast_dtype(hidden)
        hidden, weight = hidden.to(dtype).contiguous(), weight.to(dtype).contiguous()
        output, winner = _forward(hidden, weight, bias, starts, winners=any(ctx.needs_input_grad))
        ctx.save_for_backward(hidden, weight, winner)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, winner = ctx.saved_tensors
        gradient = gradients[0]
        documents, columns = gradient.nonzero(as_tuple=True)
        scales = gradient[documents, columns].float()
        tokens = winner[documents, columns].long()
        d_hidden = _scatter(tokens, scales, columns, weight, size=len(hidden), dtype=ctx.dtypes[0])
        d_weight = _scatter(columns, scales, tokens, hidden, size=len(weight), dtype=ctx.dtypes[1])
        return d_hidden, d_weight, gradient.sum(0).to(ctx.dtypes[2]), None


def max_logits(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    """The largest logit of each vocabulary entry over the tokens of each document, on a GPU.

    The contract of `sparsemill.models.max_logits.max_logits`, with these differences: float64 is refused, and products
    of half-precision inputs are not rounded before the maximum.

    Args:
        hidden: [tokens, width], float32, bfloat16 or float16; documents one after the other, without padding.
        weight: [vocabulary, width], the decoder; used in the type of `hidden`, or of autocast.
        bias: [vocabulary].
        lengths: tokens of each document, each at least 1, adding up to `tokens`.

    Returns:
        [documents, vocabulary], float32.

    Raises:
        ValueError: the lengths do not cut the tokens into non-empty documents, or `hidden` is float64.
    """
    check_lengths(hidden, lengths)
    if hidden.dtype == torch.float64:
        raise ValueError("the Triton head takes float32, bfloat16 or float16, not float64")
    starts = torch.tensor([*accumulate(lengths, initial=0)], dtype=torch.int32, device=hidden.device)
    result: Tensor = _MaxLogits.apply(hidden, weight, bias, starts)  # type: ignore[no-untyped-call]  # torch's own
    return result
