"""What the parent run of a (system, variant) says of its stages: headline measures, settings, links."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sparsemill.files import canonical_json, text_hash
from sparsemill.tracking.names import ASSUMED, Address, address, metric_name
from sparsemill.tracking.notes import CONTENT, Link, system_note
from sparsemill.tracking.points import Point

_SOURCE = (
    *("git_commit", "git_dirty", "host", "device", "invocation"),
    *("mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"),
)
"""Tags of a training that its system shows too."""

TRAIN = "train/"
"""Starts the names of a training's curves in the parent run."""

_FILES = {"models": "model", "runs": "run.trec", "evaluations": "per_query.parquet"}


class System(NamedTuple):
    """Content of a parent run; `end` in milliseconds since the epoch."""

    tags: dict[str, str]
    points: list[Point]
    parameters: dict[str, str]
    end: int


def stages_of(runs: Iterable[Any], at: Address) -> list[Any]:
    """The stage runs of a system and variant, sorted by key."""
    keyed = {str(run.data.tags["key"]): run for run in runs}
    return [run for key, run in sorted(keyed.items()) if address(key).parent_key == at.parent_key]


def describe_system(
    at: Address,
    stages: Sequence[Any],
    *,
    engine: str,
    rows: Sequence[str],
    tables: Mapping[str, Link] | None = None,
    curves: Iterable[Point] = (),
) -> System:
    """Sum up the published stages of a system and variant.

    Args:
        at: address of any of its artefacts.
        stages: their runs.
        engine: where several engines were evaluated, the one that counts.
        rows: `table/row label` of the rows that the system feeds.
        tables: table -> its run.
        curves: points of its training, so that two systems' curves can be compared.
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
    }
    tags[CONTENT] = system_note(
        at.system_name, values=values, stages=links, rows=rows, tables=tables or {}, files=_files(stages)
    )
    if at.seed is not None:
        tags["seed"] = str(at.seed)
    trained = [run for run in stages if run.data.tags["key"].startswith(("models/", "released/"))]
    source = (trained or stages)[0]
    tags |= {name: source.data.tags[name] for name in _SOURCE if name in source.data.tags}
    for run in stages:
        tags |= {name: text for name, text in run.data.tags.items() if name.startswith(ASSUMED)}
    end = max(run.info.end_time for run in stages)
    shown = [point._replace(name=f"{TRAIN}{point.name}") for point in curves if not point.name.startswith("system/")]
    return System(tags, [*headline.values(), *shown], trained[0].data.params if trained else {}, end)


def _files(stages: Iterable[Any]) -> list[Link]:
    """Where settings and results of stages are: settings in the store, runs and models in the results folder."""
    found = []
    for run in stages:
        head, path = run.data.tags["key"].split("/")[0], run.data.tags["path"]
        if head in _FILES:
            text = f"{run.info.run_name}: {path}/{_FILES[head]}"
            found.append(Link(text, run.info.experiment_id, f"{run.info.run_id}/artifacts/config.yaml"))
    return found


def _headline(stages: Sequence[Any], engine: str) -> dict[tuple[str, str], Point]:
    """(collection, measure) -> the value as a metric of the parent, `COLLECTION.METRIC`."""
    measured = [run for run in stages if "metric_names" in run.data.tags]
    measured.sort(key=lambda run: run.data.tags["engine"] not in ("", engine))
    points: dict[tuple[str, str], Point] = {}
    for run in measured:
        collection = run.data.tags["collection"]
        for name, measure in json.loads(run.data.tags["metric_names"]).items():
            # MLflow would take what stands before a slash for a group of charts.
            metric = f"{metric_name(collection)}.{name}".replace("/", "_per_")
            point = Point(metric, run.data.metrics[name], run.info.end_time, 0)
            points.setdefault((collection, measure), point)
    return points
