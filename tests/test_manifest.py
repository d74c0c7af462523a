"""Manifests: what they say of an artefact, and when two of them are of equal content."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from called import call, write

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import file_hash, text_hash
from sparsemill.job import Job

pytestmark = pytest.mark.usefixtures("keep_threads")


def test_manifest_describes_the_artefact(tmp_path: Path) -> None:
    call(tmp_path / "source")
    spec = {"seed": 3, "stage_version": 2, "text": "hi"}
    folder = str(tmp_path / "source" / "out")
    assert call(tmp_path, write, "--in", "from", folder, "--in", "two", folder, str(tmp_path), spec=spec) == 0
    found = manifest.read(tmp_path / "out")
    source = manifest.read(tmp_path / "source" / "out")
    assert found["stage"] == "make_out"
    assert found["key"] == "outs/a"
    assert (found["spec"], found["seed"], found["stage_version"]) == (spec, 3, 2)
    assert found["inputs"] == {"from": source["content"], "two[0]": source["content"]}
    assert found["outputs"] == {
        "sub/file.txt": {"sha256": file_hash(tmp_path / "out" / "sub" / "file.txt"), "bytes": 2}
    }
    assert found["facts"] == {"lines": 1}
    assert found["device"] == "cpu"
    assert found["versions"]["torch"] == torch.__version__
    assert found["wall_seconds"] >= 0
    assert found["peak_memory_mib"] > 1


def test_a_file_is_an_input_by_its_bytes(tmp_path: Path) -> None:
    states = []

    def run(job: Job) -> None:
        states.append(job.own_state().name)
        write(job)

    weights = tmp_path / "model.safetensors"
    for text in ("before", "before", "after"):
        weights.write_text(text)
        assert call(tmp_path, run, "--in", "files", str(weights)) == 0
        assert manifest.read(tmp_path / "out")["inputs"] == {"files": file_hash(weights)}
    assert states[0] == states[1] != states[2]


def test_facts_known_beforehand_are_kept_and_change_no_content(tmp_path: Path) -> None:
    assert call(tmp_path) == 0
    plain = manifest.read(tmp_path / "out")
    assert call(tmp_path, write, "--facts", '{"assumed": {"steps": "a guess"}}') == 0
    marked = manifest.read(tmp_path / "out")
    assert marked["facts"] == {"assumed": {"steps": "a guess"}, "lines": 1}
    assert (marked["content"], marked["spec_hash"]) == (plain["content"], plain["spec_hash"])
    assert call(tmp_path, write, "--facts", "{") == 2


def test_content_is_equal_for_equal_specs_and_outputs(tmp_path: Path) -> None:
    contents = []
    for number, spec in enumerate([{"a": 1}, {"a": 1.0}, {"a": 2}, {"a": 1, "text": "other"}]):
        call(tmp_path / str(number), spec=spec)
        contents.append(manifest.read(tmp_path / str(number) / "out")["content"])
    assert contents[0] == contents[1]
    assert len(set(contents)) == 3


def test_content_is_equal_for_equal_trainings(tmp_path: Path) -> None:
    """Whenever they ran: the outputs differ in their record alone, and its hash says so."""
    described = []
    for second in (1, 2):

        def train(job: Job, second: int = second) -> None:
            write(job)
            record = {"step": 1, "loss": 0.5, "time": second, "system/cpu_utilization_percentage": 40 + second}
            (job.out / "metrics.jsonl").write_text(json.dumps(record) + "\n")

        assert call(tmp_path, train) == 0
        described.append(manifest.read(tmp_path / "out"))
    first, again = described
    assert first["content"] == again["content"]
    assert first["outputs"]["metrics.jsonl"] != again["outputs"]["metrics.jsonl"]


def test_an_output_that_is_called_as_a_manifest_is_hashed(tmp_path: Path) -> None:
    contents = set()
    for text in ("{}", "[]"):

        def nested(job: Job, text: str = text) -> None:
            write(job)
            (job.out / "sub" / manifest.NAME).write_text(text)

        assert call(tmp_path, nested) == 0
        found = manifest.read(tmp_path / "out")
        assert sorted(found["outputs"]) == ["sub/file.txt", "sub/manifest.json"]
        contents.add(found["content"])
    assert len(contents) == 2


def test_content_depends_on_names_of_outputs(tmp_path: Path) -> None:
    options: dict[str, Any] = {"stage": "s", "key": "k", "spec": {}, "inputs": {}, "facts": {}, "started": 0.0}
    contents = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("same")
        contents.add(manifest.build(tmp_path / name, **options)["content"])
    assert len(contents) == 2
    assert all(len(content) == len(text_hash("")) for content in contents)


def test_a_folder_without_a_manifest_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        manifest.read(tmp_path)
