"""Whole training runs on a tiny model: they learn, repeat exactly, and stop where they cannot go on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import rows, texts, training_inputs
from torch import Tensor
from trained import ENSEMBLE, RECIPE, contents, records, run, timeless

from sparsemill.errors import UserError
from sparsemill.study.models import Training
from sparsemill.training.checkpoints import last_checkpoint
from sparsemill.training.metrics import Recorder
from sparsemill.training.objective import Objective
from sparsemill.training.recipe import train
from sparsemill.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


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
    # Each is that of its step, the first of which has none.
    assert [record["learning_rate"] for record in found] == pytest.approx([5e-4, 1e-3 * 5 / 6, 1e-3 * 3 / 6, 1e-3 / 6])


def test_a_step_that_fp16_skips_has_no_share_in_the_mean_of_norms(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = iter([2.0, None, None, None, 3.0, 5.0, None, 1.0])
    monkeypatch.setattr(
        Trainer, "_get_grad_norm", lambda self, model, grad_norm=None: setattr(self.loss, "gradient_norm", next(norms))
    )
    _, found = run(inputs, tmp_path)
    assert [record.get("gradient_norm") for record in found] == [2.0, None, 4.0, 1.0]


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


@pytest.mark.usefixtures("two_gpus")
def test_of_several_gpus_a_process_uses_one(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path)
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_another_seed_gives_another_model(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path, seed=1)
    name = "model/document_0_Transformer/model.safetensors"
    assert contents(tmp_path / "out")[name] != contents(whole / "out")[name]


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


@pytest.mark.parametrize("in_batch", ["none", "documents", "positives", "negatives"])
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


def test_candidate_rows_need_targets(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no targets were given"):
        run(inputs | {"targets": None}, tmp_path)
