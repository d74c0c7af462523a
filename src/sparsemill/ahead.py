"""Prepare the next items of an iterator while the present one is used."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def _next(items: Iterator[T]) -> list[T]:
    """The next item, alone; nothing at the end."""
    return list(islice(items, 1))


def ahead(items: Iterator[T], *, depth: int) -> Iterator[T]:
    """Yield what an iterator yields; a thread runs it up to `depth` items ahead. What it raises is raised here.

    Where nobody wants more, for example after Ctrl-C, the item in work is finished and no other is begun.

    Args:
        items: an iterator that may run in another thread.
        depth: items that wait at most, at least 1; bounds the memory.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = deque(pool.submit(_next, items) for _ in range(depth))
        while found := waiting.popleft().result():
            waiting.append(pool.submit(_next, items))
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)
