"""Batches of texts of like length with a bounded number of tokens."""

from collections.abc import Iterator, Sequence


def token_batches(lengths: Sequence[int], *, tokens: int) -> Iterator[list[int]]:
    """Cut texts, sorted by length, into batches that hold at most `tokens` tokens once padded.

    Args:
        lengths: tokens of each text.
        tokens: bound on (longest text of a batch) * (texts in it); a longer text is a batch of its own.

    Yields:
        Indices into `lengths`, each exactly once, longest texts first (so that too large a bound fails at once).
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batch: list[int] = []
    for index in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
