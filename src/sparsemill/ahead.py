"""Prepare the next items of an iterator while the present one is used."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], *, depth: int) -> Iterator[T]:
    """Yield what an iterator yields; a thread runs it up to `depth` items ahead. What it raises is raised here.

    Args:
        items: an iterator that may run in another thread.
        depth: items that wait at most, at least 1; bounds the memory.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # the end is no item
