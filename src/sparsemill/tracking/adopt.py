"""Single steps of filling a run: take over a draft, log its data sets, upload its files."""

from collections.abc import Sequence
from typing import Any

from sparsemill.files import canonical_json
from sparsemill.tracking.artefacts import Artefact
from sparsemill.tracking.lineage import Makers, datasets
from sparsemill.tracking.points import Point
from sparsemill.tracking.runs import history, same_value
from sparsemill.tracking.store import Store


def adopt(store: Store, artefact: Artefact, drafts: Sequence[Any]) -> tuple[Any, list[Point]]:
    """The draft that an artefact grew from (or None), and the points that it lacks.

    A draft with another spec, or with a point that the files do not have, is of another training.
    """
    points = artefact.points() + artefact.curves()
    values = {(point.name, point.step): point.value for point in points}
    for draft in drafts:
        if draft.data.tags.get("spec_hash", artefact.manifest["spec_hash"]) != artefact.manifest["spec_hash"]:
            continue
        logged = history(store, draft)
        if all(place in values and same_value(value, values[place]) for place, value in logged.items()):
            return draft, [point for point in points if (point.name, point.step) not in logged]
    return None, points


def upload(store: Store, run_id: str, artefact: Artefact, *, limit: int) -> None:
    """Upload the files of an artefact that have at most `limit` bytes, and the list of all."""
    with artefact.staged(limit=limit) as folder:
        store.client.log_artifacts(run_id, str(folder))


def log_datasets(store: Store, run_id: str, artefact: Artefact, makers: Makers) -> None:
    """Log the collections behind an artefact as inputs of its run.

    Args:
        store: an open store.
        run_id: the artefact's run.
        artefact: any artefact; nothing is logged for one that neither trains nor evaluates.
        makers: of all artefacts.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    context, found = datasets(artefact, makers)
    inputs = [
        DatasetInput(
            Dataset(
                name=other.address.rest[-1],
                digest=other.content,
                source_type="local",
                source=canonical_json({"uri": other.folder.as_posix()}),
                profile=canonical_json(other.manifest["facts"]),
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for other in found
    ]
    if inputs:
        store.client.log_inputs(run_id, datasets=inputs)
