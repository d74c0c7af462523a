"""Texts to batches of token ids: tokenised by slices of like length, batched by tokens, padded."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsemill.models.batches import few_shapes, token_batches
from sparsemill.models.products import ONEDNN

SLICE = {"cpu": 65_536, "cuda": 512}
"""Texts that are tokenised at a time: few where that is done beside the encoding, and the first ones delay it."""


class Batch(NamedTuple):
    """Rows of the texts, their tokens, and their `input_ids` and `attention_mask` [texts, longest], int64."""

    rows: list[int]
    lengths: list[int]
    features: dict[str, torch.Tensor]


def _token_ids(texts: list[str], tokenizer: Any, *, length: int) -> list[list[int]]:
    """What `tokenizer(texts, truncation=True, max_length=length)` gives, without what only it needs."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(length, direction=tokenizer.truncation_side)
    return [encoding.ids for encoding in backend.encode_batch_fast(texts)]


def _padded(ids: list[list[int]], tokenizer: Any, *, longest: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` [texts, longest], int64, as `tokenizer.pad` makes them, but faster."""
    lengths = np.array([len(row) for row in ids])
    places = np.arange(longest)
    real = places < lengths[:, None]
    if tokenizer.padding_side == "left":
        real = real[:, ::-1]
    matrix = np.full(real.shape, tokenizer.pad_token_id, dtype=np.int64)
    matrix[real] = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
    return {"input_ids": torch.from_numpy(matrix), "attention_mask": torch.from_numpy(real.astype(np.int64))}


def _batches(lengths: list[int], *, length: int, tokens: int, few: bool) -> Iterator[tuple[list[int], int]]:
    """Places of each batch's texts, and the length to pad them to."""
    if few:
        yield from few_shapes(lengths, tokens=tokens, longest=length)
    else:
        yield from ((batch, lengths[batch[0]]) for batch in token_batches(lengths, tokens=tokens))


def ready_batches(
    texts: Sequence[str], tokenizer: Any, *, length: int, tokens: int, device: str, precision: str
) -> Iterator[Batch]:
    """Batches of all texts, about the longest first: texts of like length in characters are tokenised together.

    Args:
        texts: any number; blank ones are left out.
        tokenizer: of transformers.
        length: tokens kept of a text, special tokens included.
        tokens: bound on the padded tokens of one batch.
        device: `cpu` or `cuda`, for which memory is pinned.
        precision: `fp32` or `bf16`, for which oneDNN gets few shapes: it keeps large kernels for each, and multiplies
            padding fast.
    """
    order = sorted((row for row, text in enumerate(texts) if text.strip()), key=lambda row: -len(texts[row]))
    size = SLICE[device]
    # A text alone is a query that is served: it is not padded.
    few = device == "cpu" and precision == "bf16" and ONEDNN and len(order) > 1
    for low in range(0, len(order), size):
        rows = sorted(order[low : low + size])
        encoded = _token_ids([texts[row] for row in rows], tokenizer, length=length)
        lengths = [len(ids) for ids in encoded]
        for batch, longest in _batches(lengths, length=length, tokens=tokens, few=few):
            chosen = [encoded[place] for place in batch]
            features = _padded(chosen, tokenizer, longest=longest)
            if device == "cuda":  # so that copying waits for nothing
                features = {name: value.pin_memory() for name, value in features.items()}
            yield Batch([rows[place] for place in batch], [len(ids) for ids in chosen], features)
