"""Whole training runs on a tiny model: they learn, repeat exactly, and go on where they were stopped."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers.sparse_encoder import SparseEncoder, SparseEncoderTrainer
from stages import without_dropout
from tiny import rows, texts, training_inputs, write_inputs
from torch import Tensor
from torch._dynamo.utils import counters

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.job import main, state_folder
from sparsemill.models import even
from sparsemill.study.models import Ensemble, Training
from sparsemill.training.checkpoints import COMPLETE, last_checkpoint
from sparsemill.training.metrics import Recorder, truncate_records
from sparsemill.training.objective import Objective
from sparsemill.training.recipe import train
from sparsemill.training.stage import run_training
from sparsemill.training.trainer import Trainer

RECIPE = {
    "training_set": "invented",
    "ensemble": "both",
    "query_side": "idf",
    "idf": "invented",
    "steps": 8,
    "queries_per_step": 4,
    "documents_per_query": 3,
    "query_length": 8,
    "document_length": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "checkpoint_steps": 3,
    "log_steps": 2,
    "regulariser": {"lambda_d": 1e-3, "warmup_steps": 4},
}
ENSEMBLE = Ensemble(teachers=["one", "two"], scale=10)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Stages compute on the threads they are given; runs that are compared with them must do the same."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def run(
    inputs: dict[str, Any],
    folder: Path,
    *,
    seed: int = 0,
    teachers: Ensemble | None = ENSEMBLE,
    stream: Callable[[dict[str, float]], None] = lambda record: None,
    device: str = "cpu",
    **options: Any,
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Train into `folder`/out with checkpoints in `folder`/state; facts and metric records."""
    out, state = folder / "out", folder / "state"
    out.mkdir(parents=True, exist_ok=True)
    state.mkdir(exist_ok=True)
    facts = train(
        Training.model_validate(RECIPE | options),
        **training_inputs(inputs),
        ensemble=teachers,
        out=out,
        state=state,
        seed=seed,
        device=device,
        label="test",
        stream=stream,
    )
    return facts, records(out)


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(found: list[dict[str, float]]) -> list[dict[str, float]]:
    """Records without the clock and the state of the machine."""
    return [
        {name: value for name, value in record.items() if name != "time" and not name.startswith("system/")}
        for record in found
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Every output file but the metrics, whose times differ."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def parameters(folder: Path) -> dict[str, Tensor]:
    """All but the biases of keys: softmax cancels them, their gradient is rounding alone, and AdamW makes it large."""
    found = load_file(folder / "model" / "document_0_Transformer" / "model.safetensors")
    return {key: value for key, value in found.items() if not key.endswith("self.key.bias")}


@pytest.fixture(scope="module")
def whole(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    run(inputs, folder)
    return folder


class StoppedError(Exception):
    """Stands for a killed process."""


def stop_at(step: int) -> Callable[[dict[str, float]], None]:
    def stream(record: dict[str, float]) -> None:
        if record["step"] >= step:
            raise StoppedError

    return stream


@pytest.mark.parametrize(("in_batch", "rate", "least"), [(False, 3e-3, 0.85), (True, 1e-2, 0.7)])
def test_the_loss_falls(inputs: dict[str, Any], tmp_path: Path, in_batch: bool, rate: float, least: float) -> None:
    options = {"steps": 80, "log_steps": 20, "checkpoint_steps": 100, "in_batch": in_batch, "learning_rate": rate}
    facts, found = run(inputs, tmp_path, **options)
    assert [record["step"] for record in found] == [20, 40, 60, 80]
    assert found[-1]["kl"] < least * found[0]["kl"]
    assert found[-1]["flops_penalty"] < found[0]["flops_penalty"]
    assert facts["queries"] == 24
    assert facts["resumed_at_step"] == 0


def test_outputs_open_and_records_are_complete(whole: Path) -> None:
    encoder = SparseEncoder(str(whole / "out" / "model"), device="cpu")
    documents = rows(encoder.encode_document(texts()))
    assert (documents > 0).any(1).all()
    assert not documents[:, :5].any()
    found = records(whole / "out")
    assert [record["step"] for record in found] == [2, 4, 6, 8]
    expected = {
        "step",
        "loss",
        "kl",
        "regulariser",
        "flops_penalty",
        "lambda_d",
        "active_tokens",
        "learning_rate",
        "gradient_norm",
    }
    assert all(set(record) == expected for record in timeless(found))
    assert all(record["time"] > 1e9 and record["system/process_memory_usage_megabytes"] > 10 for record in found)
    # means over two steps of 1e-3 (t / 4)^2
    ramp = [(1 + 4) / 32, (9 + 16) / 32, 1, 1]
    assert [record["lambda_d"] for record in found] == pytest.approx([1e-3 * factor for factor in ramp])
    # warm-up over two steps, then linear decay to zero
    assert [record["learning_rate"] for record in found] == pytest.approx([1e-3, 1e-3 * 4 / 6, 1e-3 * 2 / 6, 0])


def test_parameters_have_moved(inputs: dict[str, Any], whole: Path) -> None:
    from safetensors.numpy import load_file

    before = load_file(inputs["start"] / "model.safetensors")
    after = load_file(whole / "out" / "model" / "document_0_Transformer" / "model.safetensors")
    assert before.keys() == after.keys()
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still <= {"bert.embeddings.token_type_embeddings.weight"}, still


def test_the_same_seed_gives_the_same_bytes(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    _, found = run(inputs, tmp_path)
    assert contents(tmp_path / "out") == contents(whole / "out")
    assert timeless(found) == timeless(records(whole / "out"))


def test_another_seed_gives_another_model(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path, seed=1)
    name = "model/document_0_Transformer/model.safetensors"
    assert contents(tmp_path / "out")[name] != contents(whole / "out")[name]


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


def finetune(inputs: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, *, stop: int | None = None) -> int:
    """The command line of the stage, interrupted at the record of step `stop`; its exit status."""

    def stream(record: dict[str, float]) -> None:
        if stop is not None and record["step"] >= stop:
            raise KeyboardInterrupt

    monkeypatch.setattr("sparsemill.tracking.live.open_stream", lambda job: stream)
    spec = Training.model_validate(RECIPE).model_dump() | {"seed": 0, "device": "cpu", "start": "b", "stage_version": 1}
    arguments = ["--spec", json.dumps(spec | {"ensemble_spec": ENSEMBLE.model_dump()}), "--out", str(folder / "out")]
    places = {name: inputs[name] for name in ("start", "collection", "candidates", "targets")}
    for name, place in (places | {"idf": inputs["idf"].parent}).items():
        arguments += ["--in", name, str(place)]
    return main("finetune", run_training, argv=arguments)


def test_an_interrupted_stage_goes_on(
    inputs: dict[str, Any], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finetune(inputs, tmp_path, monkeypatch, stop=6) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out.state"]
    assert finetune(inputs, tmp_path, monkeypatch) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_json(tmp_path / "out" / "manifest.json")["facts"]["resumed_at_step"] == 3
    found = contents(tmp_path / "out")
    found.pop("manifest.json")
    assert found == contents(whole / "out")


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


PLAIN = {"steps": 4, "regulariser": {"lambda_d": 0}}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Inputs whose model has no dropout."""
    found = write_inputs(tmp_path_factory.mktemp("calm"))
    without_dropout(found["start"])
    return found


def difference(inputs: dict[str, Any], folder: Path, options: dict[str, Any], changed: dict[str, Any]) -> float:
    """Largest difference between the parameters of two trainings."""
    found = []
    for name, chosen in (("one", options), ("two", options | changed)):
        run(inputs, folder / name, **chosen)
        found.append(parameters(folder / name / "out"))
    return max(float((found[0][key] - found[1][key]).abs().max()) for key in found[0])


@pytest.mark.parametrize(
    "options", [PLAIN, PLAIN | {"kl_weight": 0, "infonce_weight": 1.0, "max_grad_norm": 1.0}], ids=["kl", "infonce"]
)
def test_accumulation_equals_the_larger_batch(calm: dict[str, Any], tmp_path: Path, options: dict[str, Any]) -> None:
    assert difference(calm, tmp_path, options, {"accumulation": 2}) < 1e-6


def test_micro_steps_are_no_steps(calm: dict[str, Any], tmp_path: Path) -> None:
    """Schedules, records and checkpoints count optimiser steps."""
    options = {"regulariser": {"lambda_d": 0, "warmup_steps": 4}}
    _, expected = run(calm, tmp_path / "one", **options)
    _, found = run(calm, tmp_path / "two", accumulation=4, **options)
    assert [record["step"] for record in found] == [2, 4, 6, 8]
    for one, two in zip(expected, found, strict=True):
        # FLOPS is a statistic of the batch, here of the micro-batch; its weight is 0
        same = {name: two[name] for name in two if name in ("time", "flops_penalty") or name.startswith("system/")}
        assert two == pytest.approx(one | same, rel=1e-4)


@pytest.mark.parametrize("key", ["in_batch", "regulariser"])
def test_accumulation_is_refused_for_statistics_of_the_batch(key: str) -> None:
    options = {"in_batch": {"in_batch": True}, "regulariser": {"regulariser": {"lambda_d": 1e-3}}}[key]
    with pytest.raises(ValueError, match=rf"{key}.* is a statistic of the whole batch.*; use grad_cache instead"):
        Training.model_validate(RECIPE | PLAIN | {"accumulation": 2} | options)


def test_accumulation_must_divide_the_batch(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"queries_per_step: 4 cannot be shared by 1 processes with accumulation 3"):
        run(inputs, tmp_path, accumulation=3, **PLAIN)


@pytest.mark.parametrize("in_batch", [False, True])
def test_grad_cache_equals_the_plain_step(calm: dict[str, Any], tmp_path: Path, in_batch: bool) -> None:
    options = {"steps": 4, "in_batch": in_batch, "infonce_weight": 0.5}
    assert difference(calm, tmp_path, options, {"grad_cache": 5}) < 1e-6


def test_grad_cache_resumes_to_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    options = {"grad_cache": 5, "in_batch": True}
    run(inputs, tmp_path / "whole", **options)
    with pytest.raises(StoppedError):
        run(inputs, tmp_path / "parts", stream=stop_at(4), **options)
    assert run(inputs, tmp_path / "parts", **options)[0]["resumed_at_step"] == 3
    assert contents(tmp_path / "parts" / "out") == contents(tmp_path / "whole" / "out")


def test_gradient_checkpointing_changes_nothing(inputs: dict[str, Any], tmp_path: Path) -> None:
    assert difference(inputs, tmp_path, {"steps": 4}, {"gradient_checkpointing": True}) < 1e-6


def test_compiled_equals_eager(calm: dict[str, Any], tmp_path: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    assert difference(calm, tmp_path, {"steps": 2}, {"compile": True}) < 1e-5
    assert counters["stats"]["unique_graphs"] == 1, "nothing was compiled, or it was compiled in pieces"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"grad_cache": 5, "in_batch": True}], ids=["plain", "grad_cache"])
def test_fp16_trains_on_a_gpu(calm: dict[str, Any], tmp_path: Path, options: dict[str, Any]) -> None:
    _, full = run(calm, tmp_path / "full", device="cuda", **options)
    _, half = run(calm, tmp_path / "half", device="cuda", precision="fp16", **options)
    assert [record["loss"] for record in half] == pytest.approx([record["loss"] for record in full], rel=0.05)


def test_a_step_that_the_scaler_skips_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16: overflow lowers the scale of the loss; only at a scale of 1 it is the gradient itself."""
    trainer = Trainer.__new__(Trainer)
    scale = torch.amp.GradScaler("cpu", init_scale=2.0)
    monkeypatch.setattr(scale, "get_scale", lambda: scale._init_scale)
    trainer.accelerator, trainer.loss = SimpleNamespace(scaler=scale), SimpleNamespace(gradient_norm=None)
    monkeypatch.setattr(SparseEncoderTrainer, "_get_grad_norm", lambda *rest: torch.tensor(torch.inf))
    trainer._get_grad_norm(None)
    assert trainer.loss.gradient_norm == 0
    scale._init_scale = 1.0
    trainer._get_grad_norm(None)
    assert trainer.loss.gradient_norm == torch.inf


def test_fp16_needs_a_gpu(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision: fp16 needs a GPU; use bf16 or fp32 on a CPU"):
        run(inputs, tmp_path, precision="fp16")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_spoils_no_parameter(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The fourth step fails, between checkpoints of every step."""
    terms = Objective.terms

    def broken(self: Objective, queries: Tensor, documents: Tensor, labels: Any) -> dict[str, Tensor]:
        if self.step == 3 and what == "gradient":
            documents.register_hook(lambda gradient: gradient * torch.inf)
        found = terms(self, queries, documents, labels)
        if self.step == 3 and what == "loss":
            found["kl"] = found["kl"] * torch.nan
            self.statistics["kl"] = torch.nan
        return found

    monkeypatch.setattr(Objective, "terms", broken)
    before: list[dict[str, Tensor]] = []
    update = Recorder.on_pre_optimizer_step

    def watched(self: Recorder, *arguments: Any, **options: Any) -> None:
        before.append({name: value.detach().clone() for name, value in options["model"].named_parameters()})
        update(self, *arguments, **options)

    monkeypatch.setattr(Recorder, "on_pre_optimizer_step", watched)
    with pytest.raises(UserError, match=rf"^step 4: the {what} is not finite"):
        run(inputs, tmp_path, checkpoint_steps=1)
    assert last_checkpoint(tmp_path / "state") == tmp_path / "state" / "checkpoint-3"
    saved = load_file(tmp_path / "state" / "checkpoint-3" / "encoder.safetensors")
    assert all(torch.equal(before[-1][name], value) for name, value in saved.items() if name in before[-1])
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize("query_side", ["binary", "idf"])
def test_inverse_idf_penalty_trains(inputs: dict[str, Any], tmp_path: Path, query_side: str) -> None:
    options = {"regulariser": {"weighting": "inverse_idf", "reduction": "mean_of_slots", "lambda_d": 1e-3}}
    _, found = run(inputs, tmp_path, steps=2, query_side=query_side, **options)
    assert found[0]["regulariser"] > 0


def test_one_document_per_query_learns_from_the_batch(inputs: dict[str, Any], tmp_path: Path) -> None:
    _, found = run(inputs, tmp_path, steps=2, documents_per_query=1, in_batch=True)
    assert found[0]["kl"] > 0


@pytest.mark.parametrize("in_batch", ["none", "documents", "positives"])
def test_contrastive_training_needs_no_teachers(inputs: dict[str, Any], tmp_path: Path, in_batch: str) -> None:
    options = {"ensemble": None, "kl_weight": 0, "infonce_weight": 1, "in_batch": in_batch}
    bare = inputs | {"targets": None, "embeddings": []}
    _, found = run(bare, tmp_path, teachers=None, steps=2, **options)
    assert found[0]["infonce"] > 0
    assert "kl" not in found[0]


def test_every_term_at_once_trains(inputs: dict[str, Any], tmp_path: Path) -> None:
    weights = {"kl_weight": 0.99, "margin_mse_weight": 0.05, "infonce_weight": 0.01, "anti_zero_weight": 1}
    penalty = {"kind": "l1", "lambda_d": 1e-3, "mask_below": 5}
    _, found = run(inputs, tmp_path, steps=2, in_batch="positives", regulariser=penalty, **weights)
    terms = ("kl", "margin_mse", "infonce", "anti_zero", "regulariser")
    assert found[0]["loss"] == pytest.approx(sum(found[0][term] for term in terms), rel=1e-5)
    assert found[0]["l1_penalty"] > 0


@pytest.mark.parametrize("kind", ["flops", "l1"])
def test_a_penalty_on_queries_makes_them_sparse(inputs: dict[str, Any], tmp_path: Path, kind: str) -> None:
    options = {"query_side": "splade", "query_encoder": "separate", "steps": 60, "log_steps": 20}
    side = {"kind": kind, "lambda_q": 1.0}
    _, found = run(inputs, tmp_path, query_regulariser=side, regulariser={"lambda_d": 0}, **options)
    assert found[-1]["active_query_tokens"] < 0.8 * found[0]["active_query_tokens"]
    assert found[-1][f"query_{kind}_penalty"] < 0.5 * found[0][f"query_{kind}_penalty"]


def test_bf16_trains(inputs: dict[str, Any], tmp_path: Path) -> None:
    _, found = run(inputs, tmp_path, steps=2, precision="bf16", max_grad_norm=1.0)
    assert np.isfinite(found[0]["loss"])


def test_a_collapsed_model_is_a_users_mistake(inputs: dict[str, Any], tmp_path: Path) -> None:
    options = {"steps": 60, "learning_rate": 0.05, "regulariser": {"lambda_d": 1e4}, "checkpoint_steps": 100}
    with pytest.raises(UserError, match=r"every document vector is zero; lower regulariser\.lambda_d"):
        run(inputs, tmp_path, **options)
    assert not contents(tmp_path / "out")


def test_too_few_queries_are_a_users_mistake(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"candidates: 24 queries are fewer than queries_per_step \(25\)"):
        run(inputs, tmp_path, queries_per_step=25)


def test_a_mixture_of_one_set_and_its_copy_is_that_set(inputs: dict[str, Any], tmp_path: Path) -> None:
    """Steps draw from either, so that half of the records repeat; a copy without weight is never drawn."""
    options = {"ensemble": ENSEMBLE, "seed": 0, "device": "cpu", "label": "test", "stream": lambda record: None}
    made = training_inputs(inputs)
    (files,) = made.pop("sets")
    done = {}
    for name, sets in {"one": [files], "two": [files, replace(files, weight=1e-12)], "both": [files, files]}.items():
        out, state = tmp_path / name / "out", tmp_path / name / "state"
        out.mkdir(parents=True)
        facts = train(Training.model_validate(RECIPE), **made, **options, sets=sets, out=out, state=state)
        assert facts["queries"] == 24 * len(sets)
        done[name] = contents(out)
    assert done["one"] == done["two"] != done["both"]


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


def test_candidate_rows_need_targets(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no targets were given"):
        run(inputs | {"targets": None}, tmp_path)


def test_records_after_the_checkpoint_and_broken_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    truncate_records(path, step=4)
    assert not path.exists()
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"ste')
    truncate_records(path, step=4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
