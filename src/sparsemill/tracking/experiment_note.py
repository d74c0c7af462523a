"""What stands above a study's runs in MLflow: one click to the retrievers, the curves, the sweeps and the tables."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from sparsemill.files import canonical_json
from sparsemill.tracking.names import TAG_LIMIT, clip
from sparsemill.tracking.notes import Link, plain
from sparsemill.tracking.store import EXPERIMENT_NOTE

HEADLINE = ".nDCG_10"
"""Ends the metrics by which retrievers are sorted."""

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


def _headlines(metrics: Sequence[str]) -> list[str]:
    return sorted(name for name in metrics if name.endswith(HEADLINE))


def views(metrics: Sequence[str], *, sweeps: Sequence[str]) -> dict[str, str]:
    """Tags of the experiment: by view, its rows, its columns and its order; MLflow shows no metric on its own.

    Args:
        metrics: of the retrievers, `COLLECTION.MEASURE`.
        sweeps: names.
    """
    searches = {"retrievers": _SYSTEMS} | {
        f"sweep.{name}": f"tags.sweeps LIKE '%,{name},%' and {_SYSTEMS}" for name in sweeps
    }
    tags = {}
    for headline in _headlines(metrics):
        collection = headline.removesuffix(HEADLINE)
        beside = [name for name in (f"{collection}.{measure}" for measure in _BESIDE) if name in metrics]
        columns = dict.fromkeys([headline, *beside, *_headlines(metrics)])
        for view, search in searches.items():
            state = {
                "searchFilter": search,
                "orderByKey": f"metrics.`{headline}`",
                "orderByAsc": False,
                "selectedColumns": [f"metrics.`{name}`" for name in columns],
            }
            tags[f"{_VIEW}{view}.{collection}"] = canonical_json(state)
    return tags


def experiment_note(
    experiment_id: str, *, metrics: Sequence[str], sweeps: Sequence[str], tables: Mapping[str, Link]
) -> str:
    """The whole note; MLflow folds all but its first line, which therefore has all links but those of sweeps.

    Args:
        experiment_id: the study's.
        metrics: of its retrievers, `COLLECTION.MEASURE`.
        sweeps: names.
        tables: table -> its run.
    """

    def retrievers(view: str) -> str:
        names = [name.removesuffix(HEADLINE) for name in _headlines(metrics)]
        links = [runs_link(name, experiment_id, viewStateShareKey=f"{view}.{name}") for name in names]
        return f"**Retrievers by nDCG@10:** {' · '.join(links)}"

    def curves(search: str) -> str:
        return f"**{runs_link('Training curves', experiment_id, searchFilter=search, compareRunsMode='CHART')}**"

    first = [link._replace(text=name).markdown() for name, link in sorted(tables.items())]
    top = [f"**Tables:** {' · '.join(first)}"] if tables else []
    top += [retrievers("retrievers")] if _headlines(metrics) else []
    lines = [" — ".join([*top, curves(_TRAININGS)])]
    for name in sweeps:
        parts = [retrievers(f"sweep.{name}")] if _headlines(metrics) else []
        parts.append(curves(f"tags.sweeps LIKE '%,{name},%' and {_TRAININGS}"))
        lines.append(f"**Sweep {plain(name)}:** {' — '.join(parts)}")
    return clip("\n\n".join([*lines, EXPERIMENT_NOTE]), TAG_LIMIT)
