"""Progress lines for long stages: a bar with rate and time left, one line every few seconds.

Lines and not a redrawn bar, because several jobs write to one terminal.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """Counts units of work and prints a bar to standard error at most every `interval` seconds."""

    def __init__(self, label: str, total: int, *, unit: str = "it", interval: float = 5.0) -> None:
        self.label, self.total, self.unit, self.interval = label, total, unit, interval
        self.initial = self.done = 0
        self.start = self._last = time.monotonic()

    def resume(self, done: int) -> None:
        """Count units that an earlier run finished; they are left out of the rate."""
        self.initial = self.done = done

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Add `count` finished units; prints when `interval` has passed or the work is complete."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= self.interval or self.done == self.total:
            self._last = now
            self._print(now - self.start, note)

    def _print(self, elapsed: float, note: str) -> None:
        line = tqdm.format_meter(
            self.done,
            self.total,
            elapsed,
            ncols=120,
            prefix=self.label,
            unit=self.unit,
            postfix=note or None,
            initial=self.initial,
        )
        print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], label: str, *, total: int, unit: str = "it") -> Iterator[T]:
    """Yield `items` and print a progress line every few seconds."""
    progress = Progress(label, total, unit=unit)
    for item in items:
        yield item
        progress.advance()
