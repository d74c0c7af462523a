"""Trainings that were stopped go on where they were, to the same bytes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import training_inputs, write_inputs
from trained import ENSEMBLE, RECIPE, StoppedError, contents, records, run, stop_at, timeless

from sparsemill.files import read_json, write_json
from sparsemill.job import main, state_folder
from sparsemill.models import even
from sparsemill.study.models import Training
from sparsemill.training.checkpoints import COMPLETE, last_checkpoint
from sparsemill.training.metrics import truncate_records
from sparsemill.training.recipe import train
from sparsemill.training.stage import run_training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("killed_at", "resumed_at"), [(2, 0), (4, 3), (6, 3), (8, 6)])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    inputs: dict[str, Any], whole: Path, tmp_path: Path, killed_at: int, resumed_at: int
) -> None:
    """Checkpoints after steps 3 and 6 lie in the middle of a span of records, which is averaged all the same."""
    streamed: list[dict[str, float]] = []
    with pytest.raises(StoppedError):
        run(inputs, tmp_path, stream=stop_at(killed_at))
    assert not contents(tmp_path / "out")
    facts, found = run(inputs, tmp_path, stream=streamed.append)
    assert facts["resumed_at_step"] == resumed_at
    assert contents(tmp_path / "out") == contents(whole / "out")
    assert timeless(found) == timeless(records(whole / "out"))
    assert streamed == [record for record in found if record["step"] > resumed_at]


def test_a_run_stopped_twice_goes_on_to_the_same_bytes(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    for step in (4, 8):
        with pytest.raises(StoppedError):
            run(inputs, tmp_path, stream=stop_at(step))
    assert run(inputs, tmp_path)[0]["resumed_at_step"] == 6
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_in_batch_runs_resume_too(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with texts in groups of like length, of which batches this small have one alone by default."""
    monkeypatch.setitem(even.TOKENS, "cpu", 40)
    monkeypatch.setattr(even, "FEW_SHAPES_TOKENS", 40)
    options = {"in_batch": True, "infonce_weight": 0.3, "regulariser": {"weighting": "inverse_idf", "lambda_d": 1e-3}}
    _, expected = run(inputs, tmp_path / "whole", **options)
    with pytest.raises(StoppedError):
        run(inputs, tmp_path / "parts", stream=stop_at(4), **options)
    _, found = run(inputs, tmp_path / "parts", **options)
    assert contents(tmp_path / "parts" / "out") == contents(tmp_path / "whole" / "out")
    assert timeless(found) == timeless(expected)
    assert "infonce" in found[0]


def test_a_half_written_checkpoint_is_ignored(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(inputs, tmp_path, stream=stop_at(8))
    broken = tmp_path / "state" / "checkpoint-6"
    (broken / COMPLETE).unlink()
    (broken / "encoder.safetensors").write_bytes(b"half")
    assert last_checkpoint(tmp_path / "state") == tmp_path / "state" / "checkpoint-3"
    assert run(inputs, tmp_path)[0]["resumed_at_step"] == 3
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_the_newest_checkpoint_is_chosen_by_number(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step in (9, 100, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_a_changed_run_starts_anew(tmp_path: Path) -> None:
    spec = {"steps": 4, "rate": 1.0}
    first = state_folder(tmp_path, spec)
    (first / "checkpoint-2").mkdir()
    assert state_folder(tmp_path, {"rate": 1, "steps": 4}) == first
    assert (first / "checkpoint-2").exists()
    second = state_folder(tmp_path, spec | {"steps": 5})
    assert second != first
    assert [path.name for path in tmp_path.iterdir()] == [second.name]
    assert not list(second.iterdir())


def finetune(
    inputs: dict[str, Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stop: int | None = None,
    checkpoint_steps: int = 3,
    **options: Any,
) -> int:
    """The command line of the stage, interrupted at the record of step `stop`; its exit status."""

    def stream(record: dict[str, float]) -> None:
        if stop is not None and record["step"] >= stop:
            raise KeyboardInterrupt

    monkeypatch.setattr("sparsemill.tracking.live.open_stream", lambda job: stream)
    spec = Training.model_validate(RECIPE | options).model_dump(exclude={"checkpoint_steps"})
    spec |= {"seed": 0, "device": "cpu", "start": "b", "stage_version": 1}
    arguments = ["--spec", json.dumps(spec | {"ensemble_spec": ENSEMBLE.model_dump()}), "--out", str(folder / "out")]
    arguments += ["--facts", json.dumps({"checkpoint_steps": checkpoint_steps})]
    places = {name: inputs[name] for name in ("start", "collection", "candidates", "targets")}
    for name, place in (places | {"idf": inputs["idf"].parent}).items():
        arguments += ["--in", name, str(place)]
    return main("finetune", run_training, argv=arguments)


@pytest.mark.parametrize("checkpoint_steps", [3, 100])
def test_an_interrupted_stage_goes_on(
    inputs: dict[str, Any], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_steps: int
) -> None:
    """Also where checkpoints are further apart by then."""
    assert finetune(inputs, tmp_path, monkeypatch, stop=6) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out.state"]
    assert finetune(inputs, tmp_path, monkeypatch, checkpoint_steps=checkpoint_steps) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_json(tmp_path / "out" / "manifest.json")["facts"]["resumed_at_step"] == 3
    found = contents(tmp_path / "out")
    found.pop("manifest.json")
    assert found == contents(whole / "out")


def test_a_store_that_appears_meanwhile_is_no_other_training(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finetune(inputs, tmp_path, monkeypatch, stop=6) == 130
    write_json(tmp_path / "store" / "manifest.json", {"content": "new"})
    monkeypatch.setenv("SPARSEMILL_STORE", str(tmp_path / "store"))
    assert finetune(inputs, tmp_path, monkeypatch) == 0
    described = read_json(tmp_path / "out" / "manifest.json")
    assert described["facts"]["resumed_at_step"] == 3
    assert "store" not in described["inputs"]


def test_an_interrupted_stage_starts_anew_when_an_input_has_changed(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = inputs["start"] / "manifest.json"
    try:
        write_json(described, {"content": "before"})
        assert finetune(inputs, tmp_path, monkeypatch, stop=6) == 130
        write_json(described, {"content": "after"})
        assert finetune(inputs, tmp_path, monkeypatch) == 0
    finally:
        described.unlink()
    assert read_json(tmp_path / "out" / "manifest.json")["facts"]["resumed_at_step"] == 0


def test_an_interrupted_stage_starts_anew_where_auto_means_another_precision(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsemill.device.multiplies_bf16", lambda device: True)
    assert finetune(inputs, tmp_path, monkeypatch, stop=6, precision="auto") == 130
    monkeypatch.setattr("sparsemill.device.multiplies_bf16", lambda device: False)
    assert finetune(inputs, tmp_path, monkeypatch, precision="auto") == 0
    facts = read_json(tmp_path / "out" / "manifest.json")["facts"]
    assert (facts["resumed_at_step"], facts["precision"]) == (0, "fp32")


def test_grad_cache_resumes_to_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    options = {"grad_cache": 5, "in_batch": True}
    run(inputs, tmp_path / "whole", **options)
    with pytest.raises(StoppedError):
        run(inputs, tmp_path / "parts", stream=stop_at(4), **options)
    assert run(inputs, tmp_path / "parts", **options)[0]["resumed_at_step"] == 3
    assert contents(tmp_path / "parts" / "out") == contents(tmp_path / "whole" / "out")


def test_a_stopped_mixture_goes_on_to_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    made = training_inputs(inputs)
    other = training_inputs(write_inputs(tmp_path / "other", topics=15))["sets"]
    options = {"ensemble": ENSEMBLE, "seed": 3, "device": "cpu", "label": "test"}

    def go_on(folder: Path, stream: Callable[[dict[str, float]], None] = lambda record: None) -> dict[str, Any]:
        out, state = folder / "out", folder / "state"
        out.mkdir(parents=True, exist_ok=True)
        spec = Training.model_validate(RECIPE)
        sets = {"sets": made["sets"] + other}
        return train(spec, **made | sets, **options, stream=stream, out=out, state=state)

    assert go_on(tmp_path / "whole")["queries"] == 39
    with pytest.raises(StoppedError):
        go_on(tmp_path / "parts", stop_at(4))
    assert go_on(tmp_path / "parts")["resumed_at_step"] == 3
    assert contents(tmp_path / "parts" / "out") == contents(tmp_path / "whole" / "out")


def test_records_after_the_checkpoint_and_broken_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    truncate_records(path, step=4)
    assert not path.exists()
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"ste')
    truncate_records(path, step=4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
