"""How long retrievers take per query, measured so that noise of the machine falls on all of them alike."""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
Item = TypeVar("Item")


class Latency(NamedTuple):
    """Milliseconds per query over a set of queries."""

    mean: float
    p50: float
    p99: float


def spread(queries: Sequence[Item], *, most: int) -> Sequence[Item]:
    """Every n-th query, with the smallest n that leaves `most` of them at most."""
    return queries[:: math.ceil(len(queries) / most)]


def in_turns(
    functions: Sequence[Callable[[int], object]],
    *,
    queries: int,
    passes: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Array:
    """Time functions of a query's number, in turns.

    For every query all run one after the other, and who goes first changes with each pass. A query's time is its
    shortest of all passes: what other processes add is never negative.

    Args:
        functions: each runs a query; results are dropped.
        queries: how many, at least 1.
        passes: timed rounds over all queries, at least 1.
        warmup: rounds before them that are not timed.
        clock: seconds.

    Returns:
        Milliseconds, float64 [functions, queries].
    """
    times = np.full((len(functions), queries), np.inf)
    sides = list(enumerate(functions))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_number in range(warmup + passes):
            first = round_number % len(sides)
            turns = [*sides[first:], *sides[:first]]
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
    return times * 1000


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


def report_engine(times: Mapping[int, Array], baselines: Sequence[str], *, engine: str) -> dict[str, float]:
    """The measures of `engine_time.json`, ratios of means first.

    Args:
        times: documents a query -> milliseconds [1 + baselines, queries], the system's first.
        baselines: names of what it is compared with.
        engine: of the system; starts the measures' names.

    Returns:
        Measure -> ratio or milliseconds: `exact:latency/bm25@1000`, `exact:mean_ms@1000`.
    """
    ratios = {
        f"{engine}:latency/{name}@{k}": float(found[0].mean() / other.mean())
        for k, found in times.items()
        for name, other in zip(baselines, found[1:], strict=True)
    }
    plain = {
        f"{engine}:{name}_ms@{k}": value
        for k, found in times.items()
        for name, value in summarise(found[0])._asdict().items()
    }
    return ratios | plain
