"""Batches of texts of like length with a bounded number of tokens."""

from collections.abc import Iterator, Sequence

EVEN = 0.9
"""A text below this share of the longest one starts a batch of its own, once the batch before is no longer small."""
SMALL = 8
"""A batch is small below 1 / SMALL of its bound: there a further batch costs more than padding."""


def token_batches(lengths: Sequence[int], *, tokens: int) -> Iterator[list[int]]:
    """Cut texts, sorted by length, into batches of like length that hold at most `tokens` tokens once padded.

    Args:
        lengths: tokens of each text.
        tokens: bound on (longest text of a batch) * (texts in it); a longer text is a batch of its own.

    Yields:
        Indices into `lengths`, each exactly once, longest texts first (so that too large a bound fails at once).
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else 0
        uneven = lengths[index] < EVEN * longest and longest * len(batch) * SMALL >= tokens
        if batch and (uneven or longest * (len(batch) + 1) > tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
