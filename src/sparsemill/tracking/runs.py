"""The runs that an MLflow experiment already holds, and how single runs are written."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

from sparsemill.tracking.input_tags import inputs_of
from sparsemill.tracking.points import Point
from sparsemill.tracking.store import Store

LIVE, PARTIAL = "live", "partial"
"""`content` of runs that a training streams into, and of runs whose publication was cut off."""

# MLflow takes 100 parameters, 100 tags and 1000 items in all at once.
_METRICS = 800
_SETTINGS = 100
_PAGE = 1000


T = TypeVar("T")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def search(store: Store, experiment: str, filter_string: str = "") -> Iterator[Any]:
    """All active runs of an experiment, oldest first."""
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment(experiment)],
            filter_string=filter_string,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


@dataclass
class Index:
    """Current runs of an experiment by key; superseded ones are left out.

    Attributes:
        complete: key -> run whose `content` is that of an artefact.
        drafts: key -> runs streamed live, or whose publication was cut off.
    """

    complete: dict[str, Any] = field(default_factory=dict)
    drafts: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[Any]) -> "Index":
        """Sort runs; those without a `key` are not ours."""
        index = cls()
        for run in runs:
            tags = run.data.tags
            if "key" not in tags or "superseded_by" in tags:
                continue
            if tags.get("content", PARTIAL) in (LIVE, PARTIAL):
                index.drafts.setdefault(tags["key"], []).append(run)
            else:
                index.complete[tags["key"]] = run
        return index


def write_batch(
    store: Store,
    run_id: str,
    *,
    points: Sequence[Point] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write to a run in as few requests as MLflow's limits allow; nothing to write is no request."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(point.name, point.value, point.time, point.step) for point in points]
    settings = [Param(name, value) for name, value in (parameters or {}).items()]
    labels = [RunTag(name, value) for name, value in (tags or {}).items()]
    parts = zip_longest(
        _batches(metrics, _METRICS), _batches(settings, _SETTINGS), _batches(labels, _SETTINGS), fillvalue=()
    )
    for some_metrics, some_params, some_tags in parts:
        store.client.log_batch(run_id, metrics=some_metrics, params=some_params, tags=some_tags)


def outdated(run: Any, complete: Mapping[str, Any], known: dict[str, bool]) -> bool:
    """Whether a run is of something that has another content now, or was made from such a thing.

    Args:
        run: a run of an artefact.
        complete: the newest complete run of each key.
        known: what was found of `complete` before; filled here, since many runs are made from the same ones.
    """
    for key, _, content in (place.rpartition("@") for place in inputs_of(run)):
        now = complete.get(key)
        if now is None:
            continue
        if now.data.tags["content"] != content:
            return True
        if key not in known:
            known[key] = outdated(now, complete, known)
        if known[key]:
            return True
    return False


def same_value(stored: float | None, value: float) -> bool:
    """Whether MLflow's number stands for `value`: it keeps infinities as the largest float."""
    if stored is None:
        return False
    bound = sys.float_info.max
    return stored == min(max(value, -bound), bound) or (math.isnan(stored) and math.isnan(value))


def later(store: Store, run: Any, points: Iterable[Point]) -> Iterator[Point]:
    """Points that replace what a run has: of one step MLflow shows the value with the last time, whenever it came."""
    for point in points:
        if point.name not in run.data.metrics:
            yield point
            continue
        known = [old.timestamp for old in store.client.get_metric_history(run.info.run_id, point.name)]
        yield point._replace(time=max(point.time, *(time + 1 for time in known)))


def missing_tags(run: Any, tags: Mapping[str, str]) -> dict[str, str]:
    """Those of `tags` that the run does not have so."""
    return {name: value for name, value in tags.items() if run.data.tags.get(name) != value}


def history(store: Store, run: Any) -> dict[tuple[str, int], float]:
    """Every point of a run: (metric, step) -> value."""
    return {
        (name, point.step): point.value
        for name in run.data.metrics
        for point in store.client.get_metric_history(run.info.run_id, name)
    }
