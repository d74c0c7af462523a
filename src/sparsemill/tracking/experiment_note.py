"""What stands above a study's runs in MLflow: one click to the retrievers, the curves, the sweeps and the tables."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from sparsemill.files import canonical_json
from sparsemill.tracking.names import TAG_LIMIT, clip, metric_name
from sparsemill.tracking.notes import Link, plain
from sparsemill.tracking.store import EXPERIMENT_NOTE

_BESIDE = ("FLOPS", "MRR_10")
"""Further columns; few, because MLflow sorts them by name and a window shows five."""

_SYSTEMS = "tags.level = 'system' and tags.superseded_by IS NULL"
_TRAININGS = "tags.stage = 'finetune' and tags.superseded_by IS NULL"
_VIEW = "mlflow.sharedViewState."
"""Starts the experiment's tags in which MLflow keeps views that have a link."""


def runs_link(text: str, experiment_id: str, **query: str) -> str:
    """A link to the experiment's runs, on the side of MLflow's pages that is for training."""
    query |= {"workflowType": "machine_learning"}
    return f"[{plain(text)}](#/experiments/{experiment_id}/runs?{urlencode(query)})"


def headline(measures: Sequence[str]) -> str:
    """The measure by which retrievers are sorted: nDCG@10, or the study's first without it."""
    return "nDCG@10" if "nDCG@10" in measures or not measures else measures[0]


def _headlines(metrics: Sequence[str], measure: str) -> dict[str, str]:
    """Collection -> its metric of that measure."""
    end = f".{metric_name(measure)}"
    return {name.removesuffix(end): name for name in sorted(metrics) if name.endswith(end)}


def views(metrics: Sequence[str], *, sweeps: Sequence[str], measure: str) -> dict[str, str]:
    """Tags of the experiment: by view, its rows, its columns and its order; MLflow shows no metric on its own.

    Args:
        metrics: of the retrievers, `COLLECTION.MEASURE`.
        sweeps: names.
        measure: see `headline`.
    """
    headlines = _headlines(metrics, measure)
    searches = {"retrievers": _SYSTEMS} | {
        f"sweep.{name}": f"tags.sweeps LIKE '%,{name},%' and {_SYSTEMS}" for name in sweeps
    }
    tags = {}
    for collection, metric in headlines.items():
        beside = [name for name in (f"{collection}.{measure}" for measure in _BESIDE) if name in metrics]
        columns = dict.fromkeys([metric, *beside, *headlines.values()])
        for view, search in searches.items():
            state = {
                "searchFilter": search,
                "orderByKey": f"metrics.`{metric}`",
                "orderByAsc": False,
                "selectedColumns": [f"metrics.`{name}`" for name in columns],
            }
            tags[f"{_VIEW}{view}.{collection}"] = canonical_json(state)
    return tags


def experiment_note(
    experiment_id: str, *, metrics: Sequence[str], sweeps: Sequence[str], tables: Mapping[str, Link], measure: str
) -> str:
    """The whole note; MLflow folds all but its first line, which therefore has all links but those of sweeps.

    Args:
        experiment_id: the study's.
        metrics: of its retrievers, `COLLECTION.MEASURE`.
        sweeps: names.
        tables: table -> its run.
        measure: see `headline`.
    """
    collections = _headlines(metrics, measure)

    def retrievers(view: str) -> str:
        links = [runs_link(name, experiment_id, viewStateShareKey=f"{view}.{name}") for name in collections]
        return f"**Retrievers by {plain(measure)}:** {' · '.join(links)}"

    def curves(search: str) -> str:
        return f"**{runs_link('Training curves', experiment_id, searchFilter=search, compareRunsMode='CHART')}**"

    first = [link._replace(text=name).markdown() for name, link in sorted(tables.items())]
    top = [f"**Tables:** {' · '.join(first)}"] if tables else []
    top += [retrievers("retrievers")] if collections else []
    lines = [" — ".join([*top, curves(_TRAININGS)])]
    for name in sweeps:
        parts = [retrievers(f"sweep.{name}")] if collections else []
        parts.append(curves(f"tags.sweeps LIKE '%,{name},%' and {_TRAININGS}"))
        lines.append(f"**Sweep {plain(name)}:** {' — '.join(parts)}")
    return clip("\n\n".join([*lines, EXPERIMENT_NOTE]), TAG_LIMIT)
