"""Larger batches and other arithmetic: accumulation, GradCache, checkpointing, compilation, fp16."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder import SparseEncoderTrainer
from stages import without_dropout
from tiny import write_inputs
from torch._dynamo.utils import counters
from trained import RECIPE, parameters, run

from sparsemill.errors import UserError
from sparsemill.study.models import Training
from sparsemill.training import processes
from sparsemill.training.trainer import Trainer, training_arguments

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_processes_of_their_own_need_something_to_compare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone = {"queries_per_step": 4, "documents_per_query": 1, "in_batch": "documents", "gather": False}
    spec = Training.model_validate(RECIPE | alone)
    options = {"state": tmp_path, "seed": 0, "device": "cpu"}
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert training_arguments(spec, **options).per_device_train_batch_size == 2
    monkeypatch.setattr(processes, "count", lambda: 4)
    with pytest.raises(UserError, match="leaves each of 4 processes one document, and nothing to compare it with"):
        training_arguments(spec, **options)
    gathered = spec.model_copy(update={"gather": True})
    assert training_arguments(gathered, **options).per_device_train_batch_size == 1


@pytest.mark.parametrize(
    "options",
    [{}, {"in_batch": True}, {"query_side": "learned", "query_learning_rate": 0.05}, {"query_side": "lexical"}],
)
def test_grad_cache_equals_the_plain_step(calm: dict[str, Any], tmp_path: Path, options: dict[str, Any]) -> None:
    options = {"steps": 4, "infonce_weight": 0.5, **options}
    assert difference(calm, tmp_path, options, {"grad_cache": 5}) < 1e-6


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
    trainer.accelerator, trainer.loss = SimpleNamespace(scaler=scale), SimpleNamespace(gradient_norm=1.0)
    monkeypatch.setattr(SparseEncoderTrainer, "_get_grad_norm", lambda *rest: torch.tensor(torch.inf))
    trainer._get_grad_norm(None)
    assert trainer.loss.gradient_norm is None
    scale._init_scale = 1.0
    trainer._get_grad_norm(None)
    assert trainer.loss.gradient_norm == torch.inf


def test_fp16_needs_a_gpu(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision: fp16 needs a GPU; use bf16 or fp32 on a CPU"):
        run(inputs, tmp_path, precision="fp16")
