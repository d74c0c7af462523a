"""The terms of the loss, and what is recorded of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsemill.losses.anti_zero import anti_zero
from sparsemill.losses.flops import flops
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.l0_mask import l0_mask
from sparsemill.losses.l1 import l1
from sparsemill.losses.margin_mse import margin_mse, margin_mse_lists
from sparsemill.losses.rows import own_scores, score_rows
from sparsemill.study.models import Regulariser, Training
from sparsemill.training.objective import Objective, document_penalty

RECIPE = {
    "training_set": "t",
    "ensemble": "e",
    "query_side": "binary",
    "idf": "i",
    "steps": 10,
    "queries_per_step": 2,
    "documents_per_query": 3,
}


class Pass(nn.Module):
    """A model whose embeddings are its inputs."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["x"]}


def recipe(**options: Any) -> Training:
    return Training.model_validate(RECIPE | options)


def batch(*, in_batch: str = "none") -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    width = 6 if in_batch == "documents" else 3
    queries = (torch.randn(2, 9, generator=generator) > 0).float()
    documents = torch.randn(6, 9, generator=generator).relu().requires_grad_()
    targets = torch.randn(2, width, generator=generator)
    excluded = torch.zeros(2, 5 if in_batch in ("positives", "negatives") else width, dtype=torch.bool)
    if in_batch == "positives":
        excluded[[0, 1], [3, 4]] = True  # the positive again
    own = torch.tensor([0, 3]) if in_batch == "documents" else torch.tensor([0, 0])
    return [{"x": queries}, {"x": documents}], {"targets": targets, "positives": own, "excluded": excluded}


@pytest.mark.parametrize("in_batch", ["none", "documents", "positives", "negatives"])
def test_terms_are_the_weighted_losses(in_batch: str) -> None:
    features, labels = batch(in_batch=in_batch)
    spec = recipe(
        in_batch=in_batch,
        kl_weight=2.0,
        infonce_weight=0.5,
        margin_mse_weight=0.05,
        anti_zero_weight=0.3,
        temperature=3.0,
        teacher_temperature=2.0,
        regulariser={"lambda_d": 0.4, "warmup_steps": 4, "reduction": "sum_of_slots"},
    )
    objective = Objective(Pass(), spec, None)
    objective.step = 1
    terms = objective(features, labels)
    queries, documents = features[0]["x"], features[1]["x"]
    scores = score_rows(queries, documents, in_batch=in_batch, slots=3)
    distilled = scores if in_batch == "documents" else own_scores(queries, documents, slots=3)
    distance = kl(distilled, labels["targets"], temperature=3.0, teacher_temperature=2.0)
    contrast = infonce(scores, labels["positives"], labels["excluded"], temperature=3.0)
    expected = {
        "kl": 2 * distance,
        "margin_mse": 0.05 * margin_mse_lists(distilled, labels["targets"]),
        "infonce": 0.5 * contrast,
        "anti_zero": 0.3 * anti_zero(queries, documents),
        "regulariser": 0.4 * 0.25 * flops(documents, reduction="sum_of_slots", slots=3),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(terms[name], value), name


def test_margins_of_the_positive_alone() -> None:
    features, labels = batch(in_batch="documents")
    terms = Objective(Pass(), recipe(in_batch=True, margin_mse_weight=1, margin_mse="pairs"), None)(features, labels)
    scores = features[0]["x"] @ features[1]["x"].T
    assert torch.allclose(terms["margin_mse"], margin_mse(scores, labels["targets"], labels["positives"]))


def test_the_weighted_sum_of_splade_v3() -> None:
    """KL .99 and MarginMSE .05 over the same lists; the gradient is that of the sum."""
    features, labels = batch()
    spec = recipe(kl_weight=0.99, margin_mse_weight=0.05, regulariser={"lambda_d": 0})
    terms = Objective(Pass(), spec, None)(features, labels)
    documents = features[1]["x"]
    found = torch.autograd.grad(sum(terms.values(), start=torch.zeros(())), documents)[0]
    scores, targets = own_scores(features[0]["x"], documents, slots=3), labels["targets"]
    expected = torch.autograd.grad(0.99 * kl(scores, targets) + 0.05 * margin_mse_lists(scores, targets), documents)[0]
    assert torch.allclose(found, expected, atol=1e-7)


def test_without_an_ensemble_there_are_no_targets() -> None:
    features, labels = batch(in_batch="positives")
    del labels["targets"]
    spec = recipe(ensemble=None, kl_weight=0, infonce_weight=1, in_batch="positives")
    assert set(Objective(Pass(), spec, None)(features, labels)) == {"infonce", "regulariser"}


def test_document_penalties() -> None:
    documents = batch()[0][1]["x"]
    half = {"lambda_d": 1.0, "mask_below": 4}
    for kind, penalty in (("flops", flops), ("l1", l1)):
        plain = document_penalty(Regulariser(kind=kind), documents, slots=3, idf=None)
        masked = document_penalty(Regulariser(kind=kind, **half), documents, slots=3, idf=None)
        assert torch.allclose(plain, penalty(documents))
        assert torch.allclose(masked, penalty(l0_mask(documents, below=4)))
        assert 0 < masked < plain


@pytest.mark.parametrize(("kind", "penalty"), [("flops", flops), ("l1", l1)])
def test_queries_are_regularised_on_their_own_schedule(kind: str, penalty: Callable[[Tensor], Tensor]) -> None:
    features, labels = batch()
    features[0]["x"] = features[0]["x"].clone().requires_grad_()
    side = {"kind": kind, "lambda_q": 0.5, "warmup_steps": 4, "schedule": "linear"}
    spec = recipe(query_side="splade", query_regulariser=side, regulariser={"lambda_d": 0.2, "warmup_steps": 2})
    objective = Objective(Pass(), spec, None)
    objective.step = 0
    terms = objective(features, labels)
    queries = features[0]["x"]
    assert torch.allclose(terms["query_regulariser"], 0.5 * 0.25 * penalty(queries))
    assert torch.allclose(terms["regulariser"], 0.2 * 0.25 * flops(features[1]["x"]))
    found = objective.statistics
    assert (found["lambda_q"], found["lambda_d"]) == (0.125, 0.05)
    assert found[f"query_{kind}_penalty"] == pytest.approx(penalty(queries).item())
    assert found["active_query_tokens"] == pytest.approx((queries > 0).sum().item() / 2)


def test_active_tokens_of_encoded_queries_are_counted_without_a_penalty_too() -> None:
    features, labels = batch()
    objective = Objective(Pass(), recipe(query_side="splade"), None)
    objective(features, labels)
    assert objective.statistics["active_query_tokens"] == pytest.approx((features[0]["x"] > 0).sum().item() / 2)
    fixed = Objective(Pass(), recipe(query_side="binary"), None)
    fixed(features, labels)
    assert "active_query_tokens" not in fixed.statistics


def test_terms_of_weight_zero_are_left_out() -> None:
    features, labels = batch()
    assert set(Objective(Pass(), recipe(), None)(features, labels)) == {"kl", "regulariser"}
    spec = recipe(kl_weight=0, infonce_weight=1)
    assert set(Objective(Pass(), spec, None)(features, labels)) == {"infonce", "regulariser"}


def test_inverse_idf_penalty() -> None:
    features, labels = batch()
    idf = torch.linspace(0, 4, 9)
    spec = recipe(regulariser={"lambda_d": 1.0, "weighting": "inverse_idf"})
    terms = Objective(Pass(), spec, idf)(features, labels)
    assert torch.allclose(terms["regulariser"], flops(features[1]["x"], idf=idf))
    plain = Objective(Pass(), recipe(regulariser={"lambda_d": 1.0}), None)(features, labels)
    assert torch.allclose(plain["regulariser"], flops(features[1]["x"]))


def test_statistics() -> None:
    features, labels = batch()
    objective = Objective(Pass(), recipe(regulariser={"lambda_d": 0.5, "warmup_steps": 2, "schedule": "linear"}), None)
    terms = objective(features, labels)
    found = objective.statistics
    documents = features[1]["x"].detach()
    assert found["loss"] == pytest.approx(sum(float(term.detach()) for term in terms.values()))
    assert found["lambda_d"] == 0.25
    assert found["regulariser"] == pytest.approx(0.25 * found["flops_penalty"])
    assert found["active_tokens"] == pytest.approx(float((documents > 0).sum() / 6))
    assert all(type(value) is float for value in found.values())


def test_idf_is_not_saved_with_the_model() -> None:
    assert not Objective(Pass(), recipe(), torch.ones(9)).state_dict()
