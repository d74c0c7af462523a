"""Batches of texts of like length with a bounded number of tokens."""

from collections.abc import Iterator, Sequence

EVEN = 0.9
"""A text below this share of the longest one starts a batch of its own, once the batch before is no longer small."""
SMALL = 8
"""A batch is small below 1 / SMALL of its bound: there a further batch costs more than padding."""
LENGTHS = 16
"""Batches in few shapes are padded to a multiple of this."""


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


def few_shapes(lengths: Sequence[int], *, tokens: int, longest: int) -> Iterator[tuple[list[int], int]]:
    """Cut texts, sorted by length, into batches of which hardly any has a shape of its own.

    oneDNN compiles every product anew that has another shape, which took a third of the time of a small model's
    training step, and keeps it, which took more memory than the step. So a batch's padded length is a multiple of
    `LENGTHS`, and sets how many texts it has: a power of two, fewer only in the last batch.

    Args:
        lengths: tokens of each text.
        tokens: bound on (padded length) * (texts) of a batch; a longer text is a batch of its own.
        longest: no batch is padded further than this.

    Yields:
        Indices into `lengths`, each exactly once, longest texts first, and the length to pad them to.
    """
    order, start = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)), 0
    while start < len(order):
        padded = -(-max(lengths[order[start]], 1) // LENGTHS) * LENGTHS
        texts = 1 << (max(tokens // padded, 1).bit_length() - 1)
        yield order[start : start + texts], min(padded, longest)
        start += texts
