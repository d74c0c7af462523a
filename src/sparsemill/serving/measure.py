"""Latency and throughput as a client sees them: servers' searches under a growing number of clients, in turns."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.serving.child import Child
from sparsemill.serving.server import HOST, NOTHING

_OPENING = 1800.0
_SPARE = 120.0
_WARMUP = 20

Array = np.ndarray[Any, Any]


class Cores(NamedTuple):
    """Numbers of the cores that the servers and the client run on; the same where there is one."""

    server: list[int]
    client: list[int]


class Load(NamedTuple):
    """What is asked of every search, at every number of clients.

    Attributes:
        clients: numbers of clients.
        requests: of one round.
        seconds: longest time of one round.
        rounds: how often the searches take turns; their requests are put together.
        warmup: requests before each round, not counted.
    """

    clients: Sequence[int]
    requests: int
    seconds: float
    rounds: int
    warmup: int


class Served(NamedTuple):
    """What one search answered at one number of clients: milliseconds of each request, seconds for all."""

    milliseconds: Array
    seconds: float

    @property
    def throughput(self) -> float:
        """Queries per second."""
        return len(self.milliseconds) / self.seconds


def share_cores(available: Sequence[int]) -> Cores:
    """A quarter of the cores for the client, at least one; the others for the servers."""
    if len(available) == 1:
        return Cores(list(available), list(available))
    split = len(available) - max(1, len(available) // 4)
    return Cores(list(available[:split]), list(available[split:]))


def available_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measure(
    searches: Mapping[str, Mapping[str, Any]], texts: Sequence[str], *, k: int, load: Load, cores: Cores
) -> dict[tuple[str, int], Served]:
    """Serve searches, from one process for each of the server's cores, and ask from another process.

    Args:
        searches: name -> see `sparsemill.retrieval.described`.
        texts: of the queries, asked in turn.
        k: documents per query.
        load: how much is asked.
        cores: where both run.

    Returns:
        (name, clients) -> what was measured. `nothing` is the fixed cost: requests whose search touches no index.

    Raises:
        UserError: the server cannot open or serve a search, or a request failed.
    """
    with ExitStack() as stack:
        servers = [stack.enter_context(Child("sparsemill.serving.server", cores=[core])) for core in cores.server]
        settings = {"searches": searches, "port": 0, "warmup": texts[:_WARMUP]}
        ports = [server.ask(settings, timeout=_OPENING)["port"] for server in servers]
        bodies = [json.dumps({"query": text, "k": k}) for text in texts]
        urls = {name: [f"http://{HOST}:{port}/search/{name}" for port in ports] for name in [NOTHING, *searches]}
        targets = {name: {"urls": places, "bodies": bodies} for name, places in urls.items()}
        return ask(targets, load=load, cores=cores.client)


def ask(
    targets: Mapping[str, Mapping[str, Any]], *, load: Load, cores: Sequence[int] = ()
) -> dict[tuple[str, int], Served]:
    """Ask servers that run already, in turns; who goes first changes with every round.

    Args:
        targets: name -> fields of `sparsemill.serving.load.Target`, bodies as text.
        load: how much is asked.
        cores: where the client runs.

    Raises:
        UserError: a request failed.
    """
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    names = list(targets)
    progress = Progress("serving", len(load.clients) * load.rounds * len(names), unit="burst")
    with Child("sparsemill.serving.load", cores=cores) as client:
        client.ask({"targets": targets}, timeout=_SPARE)
        for clients in load.clients:
            burst = {"requests": load.requests, "seconds": load.seconds, "warmup": load.warmup, "clients": clients}
            for number in range(load.rounds):
                first = number % len(names)
                for name in [*names[first:], *names[:first]]:
                    timeout = 2 * load.seconds + _SPARE
                    served = client.ask({"target": name, "burst": burst}, timeout=timeout)
                    found.setdefault((name, clients), []).append(served)
                    progress.advance()
    return {place: _together(rounds) for place, rounds in found.items()}


def _together(rounds: Sequence[Mapping[str, Any]]) -> Served:
    times = np.concatenate([served["milliseconds"] for served in rounds])
    if not len(times):
        raise UserError("not one request was answered in the time given")
    return Served(times, sum(served["seconds"] for served in rounds))


def report(
    found: Mapping[tuple[str, int], Served], system: str, baselines: Mapping[str, str], *, engine: str
) -> dict[str, float]:
    """The measures of `serving.json`, ratios first.

    `p50`, `p99` and `throughput` of the system over those of a baseline; `p50-without-fixed` is the ratio of medians
    after the median of the fixed cost was taken off both, and is left out where that leaves one of them nothing.

    Args:
        found: of `measure`.
        system: name of what is measured.
        baselines: BM25's name -> its name in `found`.
        engine: starts the measures' names.

    Returns:
        Measure -> milliseconds, queries per second, or ratio; `lucene:p99_ms@10-clients`.
    """
    counts = sorted({clients for _, clients in found})
    ratios = {
        f"{engine}:{name}/{baseline}@{clients}-clients": value
        for clients in counts
        for baseline, side in baselines.items()
        for name, value in _ratios(*(found[one, clients] for one in (system, side, NOTHING))).items()
    }
    plain = {
        f"{engine}:{prefix}{name}@{clients}-clients": value
        for clients in counts
        for prefix, side in (("", system), ("fixed_", NOTHING))
        for name, value in _plain(found[side, clients]).items()
    }
    return ratios | plain


def _plain(served: Served) -> dict[str, float]:
    p50, p99 = np.percentile(served.milliseconds, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "throughput": served.throughput}


def _ratios(ours: Served, theirs: Served, fixed: Served) -> dict[str, float]:
    (p50, p99), (other_p50, other_p99) = (np.percentile(one.milliseconds, [50, 99]) for one in (ours, theirs))
    ratios = {
        "p50": float(p50 / other_p50),
        "p99": float(p99 / other_p99),
        "throughput": ours.throughput / theirs.throughput,
    }
    floor = np.median(fixed.milliseconds)
    if min(p50, other_p50) > floor:
        ratios["p50-without-fixed"] = float((p50 - floor) / (other_p50 - floor))
    return ratios
