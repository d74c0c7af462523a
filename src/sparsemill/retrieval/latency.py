"""How long two retrievers take per query, measured so that noise of the machine falls on both alike."""

import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Latency(NamedTuple):
    """Milliseconds per query over a set of queries."""

    mean: float
    p50: float
    p99: float


def alternate(
    first: Callable[[int], object],
    second: Callable[[int], object],
    *,
    queries: int,
    passes: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Array, Array]:
    """Time two functions of a query's number, in turns.

    For every query both run one after the other, and who goes first changes with each pass. A query's time is its
    shortest of all passes: what other processes add is never negative.

    Args:
        first: runs a query; its result is dropped.
        second: likewise.
        queries: how many, at least 1.
        passes: timed rounds over all queries, at least 1.
        warmup: rounds before them that are not timed.
        clock: seconds.

    Returns:
        Milliseconds of both, each float64 [queries].
    """
    times = np.full((2, queries), np.inf)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_number in range(warmup + passes):
            turns = [(0, first), (1, second)] if round_number % 2 == 0 else [(1, second), (0, first)]
            for query in range(queries):
                for side, function in turns:
                    start = clock()
                    function(query)
                    elapsed = clock() - start
                    if round_number >= warmup:
                        times[side, query] = min(times[side, query], elapsed)
    finally:
        if collecting:
            gc.enable()
    return times[0] * 1000, times[1] * 1000


def summarise(times: Array) -> Latency:
    """Mean, median and 99th percentile (interpolated) of milliseconds per query."""
    return Latency(float(times.mean()), float(np.median(times)), float(np.percentile(times, 99)))


def report(system: Array, bm25: Array, *, passes: int, k: int) -> dict[str, float | int]:
    """The content of `latency.json`: both sides in milliseconds and the ratio of their means."""
    ours, theirs = summarise(system), summarise(bm25)
    return {
        **{f"{name}_ms": value for name, value in ours._asdict().items()},
        **{f"bm25_{name}_ms": value for name, value in theirs._asdict().items()},
        "latency/BM25": ours.mean / theirs.mean,
        "queries": len(system),
        "passes": passes,
        "k": k,
    }
