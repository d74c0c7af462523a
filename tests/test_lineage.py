"""What was made of what, by content."""

from pathlib import Path

import pytest

from sparsemill.files import write_json
from sparsemill.tracking.artefacts import Artefact
from sparsemill.tracking.lineage import Makers, read_artefacts

RUN, EVALUATION = "runs/{}/seed-0/c/exact", "evaluations/{}/seed-0/c/exact"


def made(root: Path, key: str, content: str, *inputs: str) -> Path:
    """The folder of an artefact made from what has these contents."""
    described = {"key": key, "content": content, "inputs": {f"in-{number}": text for number, text in enumerate(inputs)}}
    write_json(root / key / "manifest.json", described)
    return root / key


def keys(artefacts: list[Artefact]) -> list[str]:
    return [artefact.key for artefact in artefacts]


def test_inputs_come_first(tmp_path: Path) -> None:
    folders = [made(tmp_path, "tidy", "c", "b"), made(tmp_path, "runs/x", "b", "a"), made(tmp_path, "models/x", "a")]
    assert keys(read_artefacts(folders)) == ["models/x", "runs/x", "tidy"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_equal_artefacts_that_of_the_same_system_was_the_input(tmp_path: Path, turned: bool) -> None:
    """Points of two sweeps may be equal: their runs and evaluations have one content each."""
    systems = ["a--x-1", "b--x-1"][:: -1 if turned else 1]
    folders = [
        made(tmp_path, pattern.format(system), content, *inputs)
        for system in systems
        for pattern, content, inputs in ((RUN, "r", ()), (EVALUATION, "e", ("r",)))
    ]
    artefacts = {artefact.key: artefact for artefact in read_artefacts(folders)}
    makers = Makers(artefacts.values())
    for system in systems:
        assert keys(makers.inputs(artefacts[EVALUATION.format(system)])) == [RUN.format(system)]


def test_equal_artefacts_close_no_circle(tmp_path: Path) -> None:
    """Here a training set happens to be that of the retriever which was trained on it."""
    folders = [
        made(tmp_path, "candidates/one", "same"),
        made(tmp_path, "models/x/seed-0", "model", "same"),
        made(tmp_path, "candidates/two", "same", "model"),
    ]
    assert keys(read_artefacts(folders)) == ["candidates/one", "models/x/seed-0", "candidates/two"]
