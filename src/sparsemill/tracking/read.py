"""Rebuild the tidy frame from MLflow alone."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sparsemill.tables.tidy import Record, to_frame
from sparsemill.tracking.runs import Index, search
from sparsemill.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd


def read_frame(store: Store, experiment: str, *, contents: Iterable[str] | None = None) -> "pd.DataFrame":
    """The tidy frame of the measures in an experiment's runs; superseded and unfinished runs are left out.

    Args:
        store: an open store.
        experiment: its name.
        contents: only runs of artefacts with these hashes (None: all).

    Returns:
        A frame as `sparsemill.tables.tidy` describes it.
    """
    wanted = None if contents is None else set(contents)
    runs = Index.of(search(store, experiment)).complete.values()
    measured = [run for run in runs if "metric_names" in run.data.tags]
    chosen = [run for run in measured if wanted is None or run.data.tags["content"] in wanted]
    return to_frame(record for run in chosen for record in records(run))


def records(run: Any) -> Iterator[Record]:
    """The rows that a run of a measured artefact stands for."""
    tags = run.data.tags
    for name, measure in json.loads(tags["metric_names"]).items():
        yield Record(
            system=tags["system"],
            variant=tags["variant"],
            seed=int(tags["seed"]) if "seed" in tags else None,
            collection=tags["collection"],
            engine=tags["engine"],
            measure=measure,
            value=run.data.metrics[name],
            queries=int(tags["queries"]) if tags["queries"] else None,
            source=tags["key"],
        )
