"""What the parent run of a (system, variant) says of its stages: headline measures, settings, links."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sparsemill.files import canonical_json, text_hash
from sparsemill.tracking.names import ASSUMED, Address, metric_name
from sparsemill.tracking.notes import CONTENT, Link, system_note
from sparsemill.tracking.points import Point


class System(NamedTuple):
    """Content of a parent run; `end` in milliseconds since the epoch."""

    tags: dict[str, str]
    points: list[Point]
    parameters: dict[str, str]
    end: int


def stages_of(runs: Iterable[Any], at: Address) -> list[Any]:
    """The stage runs of a system and variant, sorted by key."""
    wanted = ("stage", at.system, at.variant)
    found = [run for run in runs if tuple(run.data.tags.get(tag) for tag in ("level", "system", "variant")) == wanted]
    return sorted(found, key=lambda run: str(run.data.tags["key"]))


def describe_system(at: Address, stages: Sequence[Any], *, engine: str, rows: Sequence[str]) -> System:
    """Sum up the published stages of a system and variant.

    Args:
        at: address of any of its artefacts.
        stages: their runs.
        engine: where several engines were evaluated, the one that counts.
        rows: `table/row label` of the rows that the system feeds.
    """
    headline = _headline(stages, engine)
    values = {place: point.value for place, point in headline.items()}
    links = [Link(run.info.run_name, run.info.experiment_id, run.info.run_id) for run in stages]
    tags = {
        "key": at.parent_key,
        "content": text_hash(canonical_json([[run.data.tags["key"], run.data.tags["content"]] for run in stages])),
        "level": "system",
        "system": at.system,
        "variant": at.variant,
        "rows": canonical_json(list(rows)),
        CONTENT: system_note(at.system_name, values=values, stages=links, rows=rows),
    }
    if at.seed is not None:
        tags["seed"] = str(at.seed)
    trained = [run.data.params for run in stages if run.data.tags["key"].startswith(("models/", "released/"))]
    for run in stages:
        tags |= {name: text for name, text in run.data.tags.items() if name.startswith(ASSUMED)}
    end = max(run.info.end_time for run in stages)
    return System(tags, list(headline.values()), trained[0] if trained else {}, end)


def _headline(stages: Sequence[Any], engine: str) -> dict[tuple[str, str], Point]:
    """(collection, measure) -> the value as a metric of the parent, `COLLECTION.METRIC`."""
    measured = [run for run in stages if "metric_names" in run.data.tags]
    measured.sort(key=lambda run: run.data.tags["engine"] not in ("", engine))
    points: dict[tuple[str, str], Point] = {}
    for run in measured:
        collection = run.data.tags["collection"]
        for name, measure in json.loads(run.data.tags["metric_names"]).items():
            point = Point(f"{metric_name(collection)}.{name}", run.data.metrics[name], run.info.end_time, 0)
            points.setdefault((collection, measure), point)
    return points
