"""Texts to batches of token ids: tokenised by slices of like length, batched by tokens, padded."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsemill.models.batches import token_batches

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


def _padded(ids: list[list[int]], tokenizer: Any) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` [texts, longest], int64, as `tokenizer.pad` makes them, but faster."""
    lengths = np.array([len(row) for row in ids])
    places = np.arange(lengths.max())
    real = places < lengths[:, None]
    if tokenizer.padding_side == "left":
        real = real[:, ::-1]
    matrix = np.full(real.shape, tokenizer.pad_token_id, dtype=np.int64)
    matrix[real] = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
    return {"input_ids": torch.from_numpy(matrix), "attention_mask": torch.from_numpy(real.astype(np.int64))}


def ready_batches(texts: Sequence[str], tokenizer: Any, *, length: int, tokens: int, device: str) -> Iterator[Batch]:
    """Batches of all texts, about the longest first: texts of like length in characters are tokenised together.

    Args:
        texts: any number; blank ones are left out.
        tokenizer: of transformers.
        length: tokens kept of a text, special tokens included.
        tokens: bound on the padded tokens of one batch.
        device: `cpu` or `cuda`, for which memory is pinned.
    """
    order = sorted((row for row, text in enumerate(texts) if text.strip()), key=lambda row: -len(texts[row]))
    size = SLICE[device]
    for low in range(0, len(order), size):
        rows = sorted(order[low : low + size])
        encoded = _token_ids([texts[row] for row in rows], tokenizer, length=length)
        for batch in token_batches([len(ids) for ids in encoded], tokens=tokens):
            chosen = [encoded[place] for place in batch]
            features = _padded(chosen, tokenizer)
            if device == "cuda":  # so that copying waits for nothing
                features = {name: value.pin_memory() for name, value in features.items()}
            yield Batch([rows[place] for place in batch], [len(ids) for ids in chosen], features)
