"""Defects of public training code, each of which a test here would find if it came back.

naver: naver/splade, 2.4 in the order of its files. OpenSearch: opensearch-sparse-model-tuning-sample.
"""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trained import run

from sparsemill.errors import UserError
from sparsemill.losses.flops import flops
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.rows import row_documents
from sparsemill.losses.schedule import ramp
from sparsemill.progress import Progress
from sparsemill.study import models
from sparsemill.study.load import load_study
from sparsemill.study.models import Ensemble, QueryRegulariser, Regulariser, Study, Training
from sparsemill.training import recipe as recipes
from sparsemill.training.guards import DenseGuard
from sparsemill.training.metrics import Recorder
from sparsemill.training.objective import Objective

ROOT = Path(__file__).resolve().parent.parent
RECIPE = {
    "training_set": "t",
    "ensemble": "e",
    "query_side": "binary",
    "idf": "i",
    "steps": 10,
    "queries_per_step": 4,
    "documents_per_query": 3,
}


class Pass(nn.Module):
    """A model whose embeddings are its inputs."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["x"]}


def step_terms(step: int = 0, **options: Any) -> dict[str, Tensor]:
    """Terms of one step on fixed invented vectors; documents of a query share nothing with another's."""
    spec = Training.model_validate(RECIPE | options)
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(size, 9, generator=generator).relu() for size in (4, 12)]
    columns, own = row_documents(np.arange(12).reshape(4, 3).tolist(), in_batch=spec.in_batch)
    excluded = [
        [document == row[column] and place != column for place, document in enumerate(row)]
        for row, column in zip(columns, own, strict=True)
    ]
    width = 12 if spec.in_batch == "documents" else 3
    labels = {
        "targets": torch.randn(4, width, generator=generator),
        "positives": torch.tensor(own),
        "excluded": torch.tensor(excluded),
    }
    objective = Objective(Pass(), spec, torch.linspace(0.5, 4, 9))
    objective.step = step
    terms: dict[str, Tensor] = objective([{"x": side} for side in sides], labels)
    return terms


def total(*arguments: Any, **options: Any) -> float:
    return float(sum(step_terms(*arguments, **options).values()))


def load(**config: Any) -> Study:
    return load_study(config, ROOT / "config")


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["augment_pair", "in_batchs", "inbatch", "margin_mse_weigth"])
def test_a_misspelt_key_is_refused(key: str) -> None:
    # naver: `augment_pair` for `augment_pairs`, so that SPLADE-max trained without in-batch negatives
    with pytest.raises(UserError, match=f"config: experiments.x.{key}: unknown key"):
        load(experiments={"x": {"extends": "ours", key: 1}})


def test_in_batch_negatives_change_the_loss() -> None:
    # naver: the released config's in-batch loss equals the pairwise loss
    values = [total(infonce_weight=1.0, in_batch=kind) for kind in ("none", "positives", "documents")]
    assert values[0] < values[1] - 0.1
    assert values[1] < values[2] - 0.1


EFFECTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"kl_weight": 2}),
    ({}, {"infonce_weight": 1}),
    ({}, {"margin_mse_weight": 1}),
    ({"margin_mse_weight": 1}, {"margin_mse": "pairs"}),
    ({}, {"anti_zero_weight": 1}),
    ({}, {"temperature": 2}),
    ({}, {"teacher_temperature": 2}),
    ({}, {"in_batch": "documents"}),
    ({"infonce_weight": 1}, {"in_batch": "positives"}),
    ({"infonce_weight": 1}, {"in_batch": "negatives"}),
]
PENALTIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"kind": "l1"}),
    ({}, {"lambda_d": 0.5}),
    ({}, {"warmup_steps": 3}),
    ({"warmup_steps": 3}, {"schedule": "linear"}),
    ({}, {"reduction": "mean_of_slots"}),
    ({}, {"reduction": "sum_of_slots"}),
    ({}, {"weighting": "inverse_idf"}),
    ({}, {"mask_below": 4}),
]


@pytest.mark.parametrize(("base", "change"), EFFECTS)
def test_every_key_of_the_loss_has_an_effect(base: dict[str, Any], change: dict[str, Any]) -> None:
    # OpenSearch: score_scale never reaches the data, and decouple_activation's result is overwritten
    assert total(**base) != pytest.approx(total(**base | change), rel=1e-4)


@pytest.mark.parametrize(("base", "change"), PENALTIES)
def test_every_key_of_the_regulariser_has_an_effect(base: dict[str, Any], change: dict[str, Any]) -> None:
    # OpenSearch: as above
    before, after = ({"lambda_d": 1.0} | base, {"lambda_d": 1.0} | base | change)
    assert total(regulariser=before) != pytest.approx(total(regulariser=after), rel=1e-4)


SECTIONS = [models.Experiment, models.Pretraining, Regulariser, QueryRegulariser, Ensemble, models.TrainingSet]


@pytest.mark.parametrize("model", SECTIONS)
def test_every_key_is_read_somewhere(model: type[models.Model]) -> None:
    # OpenSearch and naver: keys that no code reads
    files = [path for path in (ROOT / "src").rglob("*.py") if "study/models" not in path.as_posix()]
    code = "\n".join(path.read_text(encoding="utf-8") for path in [*files, *(ROOT / "workflow").rglob("*.py")])
    unread = [key for key in model.model_fields if not re.search(rf"\.{key}\b|[\"']{key}[\"']", code)]
    assert not unread


def test_defaults_of_code_are_those_of_the_config() -> None:
    # OpenSearch: use_l0 is True by default in the model, False in the arguments
    config = {key: field for model in (Training, Regulariser) for key, field in model.model_fields.items()}
    compared = []
    for function in (kl, infonce, flops, ramp):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in config and inspect.Parameter.empty != parameter.default and not config[name].is_required():
                assert parameter.default == config[name].default, (function, name)
                compared.append(name)
    assert {"temperature", "teacher_temperature", "reduction", "schedule"} <= set(compared)


def test_lengths_by_default_hold_a_passage() -> None:
    # naver: max_length 10 in the default config (MRR@10 of 0.18)
    fields = models.Experiment.model_fields
    assert fields["query_length"].default >= 32
    assert fields["document_length"].default >= 256
    assert fields["encode_length"].default >= 512
    measures = ["nDCG@10", "MRR@10", "R@100", "R@1000"]
    for scale, least in (("demo", 48), ("one-gpu", 128), ("paper", 128)):
        study = load(presets=["inference_free", "splade_pp"], scale=scale, measures=measures, depth=1000)
        for trained in (*study.pretrainings.values(), *study.experiments.values()):
            assert trained.document_length >= least
            assert trained.query_length >= 32
            evaluated = trained.encode_length if isinstance(trained, models.Experiment) else trained.document_length
            assert trained.query_length <= max(trained.document_length, evaluated)


# --- regularisers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flops", "l1"])
def test_each_regulariser_counts_once(kind: str) -> None:
    # naver: with two regularisers the first is added twice
    plain = {"query_side": "splade", "regulariser": {"lambda_d": 0.0}}
    ranking = total(**plain)
    documents = total(**plain | {"regulariser": {"lambda_d": 0.3}}) - ranking
    side = {"kind": kind, "lambda_q": 0.7}
    queries = total(**plain, query_regulariser=side) - ranking
    both = total(**plain | {"regulariser": {"lambda_d": 0.3}, "query_regulariser": side})
    assert min(documents, queries) > 0.01
    assert both == pytest.approx(ranking + documents + queries, rel=1e-5)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_the_penalty_does_not_grow_with_documents_per_query(slots: int) -> None:
    # OpenSearch: a sum over slots, G times Eq. 3, so that lambda depends on G
    documents = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    repeated = documents.repeat_interleave(slots, 0)
    assert flops(repeated, slots=slots).item() == pytest.approx(flops(documents).item(), rel=1e-5)
    summed = flops(repeated, reduction="sum_of_slots", slots=slots)
    assert summed.item() == pytest.approx(slots * flops(documents).item(), rel=1e-5)


def test_flops_is_that_of_the_concatenation_unless_asked_otherwise() -> None:
    # naver: the mean of the positives' and the negatives' FLOPS, which is larger
    documents = torch.rand(6, 7, generator=torch.Generator().manual_seed(0))
    assert Regulariser().reduction == "concatenation"
    assert flops(documents).item() == pytest.approx(documents.mean(0).square().sum().item())
    apart = flops(documents, reduction="mean_of_slots", slots=2)
    assert apart.item() == pytest.approx((flops(documents[::2]) + flops(documents[1::2])).item() / 2)
    assert apart > flops(documents)


def test_lambda_is_a_function_of_the_step_and_not_of_calls() -> None:
    # naver's HF trainer: a counter of forward passes, which restarts on resume and ignores accumulation
    options = {"regulariser": {"lambda_d": 1.0, "warmup_steps": 10}}
    anew = step_terms(6, **options)["regulariser"]
    assert step_terms(6, **options)["regulariser"] == anew
    assert anew / step_terms(9, **options)["regulariser"] == pytest.approx(0.49)


def test_lambda_ramps_over_optimiser_steps_with_accumulation(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # naver: the scheduler of lambda is stepped once per forward pass
    wrapped = recipes.training_arguments

    def accumulating(*arguments: Any, **options: Any) -> Any:
        found = wrapped(*arguments, **options)
        found.gradient_accumulation_steps = 2
        return found

    monkeypatch.setattr(recipes, "training_arguments", accumulating)
    _, records = run(inputs, tmp_path, steps=5, log_steps=1, regulariser={"lambda_d": 1.0, "warmup_steps": 4})
    found = [record["lambda_d"] for record in records]
    assert found == pytest.approx([1 / 16, 4 / 16, 9 / 16, 1, 1])


def test_the_ramp_that_is_documented_is_the_ramp_that_runs(tmp_path: Path) -> None:
    # naver's HF trainer: the README says that there is no schedule, and there is one
    described = Regulariser.model_fields["warmup_steps"].description
    assert described is not None
    assert "lambda * (min(t, T) / T)^2; 0: none" in described
    spec = Training.model_validate(RECIPE | {"regulariser": {"lambda_d": 2.0, "warmup_steps": 4}})
    objective = Objective(Pass(), spec, None)
    progress = Progress("", 1, unit="")
    guard = DenseGuard(9, None)
    recorder = Recorder(objective, tmp_path / "m", lambda record: None, guard=guard, log_steps=1, progress=progress)
    for done in range(6):
        recorder.on_step_begin(None, SimpleNamespace(global_step=done), None)
        used = 2.0 * ramp(objective.step, warmup_steps=4)
        assert used == pytest.approx(2.0 * (min(done + 1, 4) / 4) ** 2)
    assert ramp(0, warmup_steps=0) == 1
