"""Maximum over tokens of the MLM logits as one GPU kernel: the logits never leave the chip.

The idea is that of Sparton (2603.25011): fold the maximum into the tiles of the matrix product, keep the token that
won, and send gradients through that token alone. Here documents lie one after the other without padding, as many in a
tile as it has tokens for, the activation stays outside, and the backward pass runs over the entries with a gradient,
without atomic additions.

Tile sizes are fixed, not tuned at run time: a tuned size could change the order of additions from run to run.
With `TRITON_INTERPRET=1` the kernels run on CPU tensors, slowly, which is how they are tested without a GPU.
"""

from itertools import accumulate
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad
from triton.tools.tensor_descriptor import TensorDescriptor

from sparsemill.models.max_logits import autocast_dtype, check_lengths


class Tile(NamedTuple):
    """The logits that a program holds at a time, and the width that it multiplies at a time."""

    tokens: int
    vocabulary: int
    width: int
    stages: int


HALF, SINGLE = Tile(128, 128, 64, stages=3), Tile(64, 64, 32, stages=2)
"""Two programs with half-precision tiles share a multiprocessor: one reduces while the other one multiplies."""
TOGETHER = 8192
"""Tokens whose programs are neighbours: they and the slice of `weight` that each needs stay in the cache."""
ENTRIES, WIDTH = 16, 128
"""Tile of the backward pass: entries added up at a time, and columns of the result per program."""


@triton.jit  # type: ignore[untyped-decorator]
def _largest(  # type: ignore[no-untyped-def]
    hidden,
    weight,
    bias,
    starts,
    packs,
    output,
    winners,
    count,
    vocabulary,
    width,
    WINNERS: tl.constexpr,
    WIDEN: tl.constexpr,
    TOKENS: tl.constexpr,
    VOCABULARY: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
):
    """One pack of documents and VOCABULARY entries: maximum over each document's tokens, the first of equals wins.

    A pack is one document of any length, or several that fit in a tile. The tile is entries times tokens, so that a
    maximum runs along what a thread holds.
    """
    tiles = tl.cdiv(vocabulary, VOCABULARY)
    leader = tl.program_id(0) // (GROUP * tiles) * GROUP
    members = tl.minimum(count - leader, GROUP)
    member = tl.program_id(0) % (GROUP * tiles)
    pack = leader + member % members
    entry = member // members * VOCABULARY
    entries = entry + tl.arange(0, VOCABULARY)
    known = entries < vocabulary
    stride = tl.cast(vocabulary, tl.int64)
    shift = tl.load(bias + entries, mask=known, other=0.0).to(tl.float32)
    first, last = tl.load(packs + pack), tl.load(packs + pack + 1)
    best = tl.full((VOCABULARY,), float("-inf"), tl.float32)
    winner = tl.zeros((VOCABULARY,), tl.int32)
    for low in range(tl.load(starts + first), tl.load(starts + last), TOKENS):
        logits = tl.zeros((VOCABULARY, TOKENS), tl.float32)
        for left in range(0, width, WIDTH):
            w, h = weight.load([entry, left]), hidden.load([low, left])
            if WIDEN:
                w, h = w.to(tl.float32), h.to(tl.float32)
            logits = tl.dot(w, h.T, logits, input_precision="ieee")
        # A NaN loses every comparison; as infinity it reaches the loss, where it stops the training.
        logits = tl.where(logits == logits, logits, float("inf"))
        tokens = low + tl.arange(0, TOKENS)
        for document in range(first, last):
            start = tl.load(starts + document)
            real = ((tokens >= start) & (tokens < tl.load(starts + document + 1)))[None, :]
            value = tl.max(tl.where(real, logits, float("-inf")), 1)
            better = (value > best) | (start >= low)  # or the document begins in this tile
            best = tl.where(better, value, best)
            tl.store(output + document * stride + entries, best + shift, mask=known)
            if WINNERS:
                won = real & (logits == value[:, None])
                winner = tl.where(better, tl.min(tl.where(won, tokens[None, :], 2147483647), 1), winner)
                tl.store(winners + document * stride + entries, winner, mask=known)


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


def _packs(lengths: list[int], *, tokens: int) -> list[int]:
    """The first document of each pack, and the number of documents: neighbours that have `tokens` tokens together."""
    packs, room = [0], tokens
    for document, length in enumerate(lengths):
        if length > room and document:
            packs.append(document)
            room = tokens
        room -= length
    return [*packs, len(lengths)]


def _described(matrix: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """What loads tiles of a matrix: rows have to start at multiples of 16 bytes; beyond the matrix are zeros."""
    missing = -matrix.shape[1] % (16 // matrix.element_size())
    matrix = pad(matrix, (0, missing)) if missing else matrix  # without anything to add `pad` copies
    return TensorDescriptor.from_tensor(matrix if matrix.data_ptr() % 16 == 0 else matrix.clone(), [rows, columns])


def _moved(numbers: list[int], device: torch.device) -> Tensor:
    """int32, without waiting for what a GPU still does."""
    made = torch.tensor(numbers, dtype=torch.int32)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made


def _forward(
    hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int], *, winners: bool
) -> tuple[Tensor, Tensor]:
    tile = SINGLE if hidden.dtype == torch.float32 else HALF
    packs, vocabulary = _packs(lengths, tokens=tile.tokens), weight.shape[0]
    output = torch.empty(len(lengths), vocabulary, dtype=torch.float32, device=hidden.device)
    winner = torch.empty(output.shape if winners else (1, 1), dtype=torch.int32, device=hidden.device)
    starts = _moved([*accumulate(lengths, initial=0)], hidden.device)
    _largest[((len(packs) - 1) * triton.cdiv(vocabulary, tile.vocabulary),)](
        _described(hidden, tile.tokens, tile.width),
        _described(weight, tile.vocabulary, tile.width),
        bias,
        starts,
        _moved(packs, hidden.device),
        output,
        winner,
        len(packs) - 1,
        vocabulary,
        hidden.shape[1],
        WINNERS=winners,
        # Triton's interpreter would multiply the bits of bfloat16 as integers.
        WIDEN=triton.knobs.runtime.interpret and hidden.dtype == torch.bfloat16,
        TOKENS=tile.tokens,
        VOCABULARY=tile.vocabulary,
        WIDTH=tile.width,
        GROUP=TOGETHER // tile.tokens,
        num_warps=4,
        num_stages=tile.stages,
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
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
        ctx.dtypes = hidden.dtype, weight.dtype, bias.dtype
        dtype = autocast_dtype(hidden)
        hidden, weight = hidden.to(dtype).contiguous(), weight.to(dtype).contiguous()
        output, winner = _forward(hidden, weight, bias.contiguous(), lengths, winners=any(ctx.needs_input_grad))
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
    result: Tensor = _MaxLogits.apply(hidden, weight, bias, lengths)  # type: ignore[no-untyped-call]  # torch's own
    return result
