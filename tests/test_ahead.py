"""Running ahead of a consumer: same items, a bounded number of them, errors where they are used."""

import threading
import time
from collections.abc import Iterator

import pytest

from sparsemill.ahead import ahead


def counted(made: list[int], *, until: int) -> Iterator[int]:
    for number in range(until):
        made.append(number)
        yield number


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("until", [0, 1, 7])
def test_yields_the_same_items_in_order(depth: int, until: int) -> None:
    assert list(ahead(counted([], until=until), depth=depth)) == list(range(until))


def test_is_ahead_by_the_depth_and_no_more() -> None:
    made: list[int] = []
    items = ahead(counted(made, until=10), depth=2)
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    items.close()


def test_an_error_is_raised_at_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = ahead(failing(), depth=3)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_nothing_is_begun_after_the_end() -> None:
    begun: list[int] = []
    second, goes_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            if number == 1:
                second.set()
                goes_on.wait()
            yield number

    found = ahead(items(), depth=20)
    assert next(found) == 0
    assert second.wait(60)
    threading.Timer(1, goes_on.set).start()
    found.close()
    assert begun == [0, 1]
