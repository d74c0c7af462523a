"""The timing protocol under a clock that the test controls."""

import gc

import numpy as np
import pytest

from sparsemill.retrieval.latency import in_turns, report, report_engine, spread, summarise


def test_queries_are_spread() -> None:
    assert spread(range(10), most=10) == spread(range(10), most=99) == range(10)
    assert list(spread(range(10), most=9)) == list(spread(range(10), most=5)) == [0, 2, 4, 6, 8]
    assert list(spread(range(10), most=4)) == [0, 3, 6, 9]


class Machine:
    """A clock, and functions that take a known time on it and write down who ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.now

    def function(self, name: str, seconds: list[list[float]]):
        """`seconds[round][query]`."""
        rounds = [0] * len(seconds[0])

        def run(query: int) -> None:
            self.calls.append((name, query))
            self.now += seconds[rounds[query]][query]
            rounds[query] += 1

        return run


def test_the_shortest_time_of_the_timed_passes_counts() -> None:
    machine = Machine()
    first = machine.function("a", [[0.001, 0.001], [0.005, 0.009], [0.007, 0.004]])
    second = machine.function("b", [[0.001, 0.001], [0.002, 0.003], [0.006, 0.001]])
    ours, theirs = in_turns([first, second], queries=2, passes=2, warmup=1, clock=machine.clock)
    np.testing.assert_allclose(ours, [5, 4])
    np.testing.assert_allclose(theirs, [2, 1])


def test_sides_alternate_and_the_order_swaps_each_pass() -> None:
    machine = Machine()
    in_turns(
        [machine.function("a", [[1, 1]] * 2), machine.function("b", [[1, 1]] * 2)],
        queries=2,
        passes=2,
        warmup=0,
        clock=machine.clock,
    )
    assert machine.calls == [(name, query) for order in ("ab", "ba") for query in (0, 1) for name in order]


def test_garbage_collection_is_off_while_timing_and_on_again_after_an_error() -> None:
    def fail(query: int) -> None:
        assert not gc.isenabled()
        raise ZeroDivisionError

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        in_turns([fail, fail], queries=1, passes=1, warmup=0)
    assert gc.isenabled()


def test_report_by_hand() -> None:
    system, bm25 = np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 4.0])
    assert summarise(system) == pytest.approx((3.0, 2.0, 5.92))
    assert report(system, bm25, passes=5, k=10) == {
        "mean_ms": 3.0,
        "p50_ms": 2.0,
        "p99_ms": pytest.approx(5.92),
        "bm25_mean_ms": 2.0,
        "bm25_p50_ms": 1.0,
        "bm25_p99_ms": pytest.approx(3.94),
        "latency/BM25": 1.5,
        "queries": 3,
        "passes": 5,
        "k": 10,
    }


def test_three_sides_take_turns() -> None:
    machine = Machine()
    functions = [machine.function(name, [[1]] * 4) for name in "abc"]
    assert in_turns(functions, queries=1, passes=4, warmup=0, clock=machine.clock).tolist() == [[1000]] * 3
    assert "".join(name for name, _ in machine.calls) == "abcbcacababc"


def test_report_of_an_engine_by_hand() -> None:
    times = {10: np.array([[2.0, 4.0], [1.0, 1.0], [4.0, 8.0]]), 1000: np.array([[3.0, 3.0], [1.0, 2.0], [1.0, 1.0]])}
    measured = report_engine(times, ["bm25", "bm25-standard"], engine="exact")
    assert measured == pytest.approx(
        {
            "exact:latency/bm25@10": 3.0,
            "exact:latency/bm25-standard@10": 0.5,
            "exact:latency/bm25@1000": 2.0,
            "exact:latency/bm25-standard@1000": 3.0,
            "exact:mean_ms@10": 3.0,
            "exact:p50_ms@10": 3.0,
            "exact:p99_ms@10": 3.98,
            "exact:mean_ms@1000": 3.0,
            "exact:p50_ms@1000": 3.0,
            "exact:p99_ms@1000": 3.0,
        }
    )
    assert list(measured)[3:5] == ["exact:latency/bm25-standard@1000", "exact:mean_ms@10"]
