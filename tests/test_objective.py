"""The terms of the loss, and what is recorded of them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsemill.losses.flops import flops
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.study.models import Training
from sparsemill.training.objective import Objective, score_rows

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


def batch(*, in_batch: bool = False) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    width = 6 if in_batch else 3
    queries = (torch.randn(2, 9, generator=generator) > 0).float()
    documents = torch.randn(6, 9, generator=generator).relu().requires_grad_()
    labels = {
        "targets": torch.randn(2, width, generator=generator),
        "positives": torch.tensor([0, 3]) if in_batch else torch.tensor([0, 0]),
        "excluded": torch.zeros(2, width, dtype=torch.bool),
    }
    return [{"x": queries}, {"x": documents}], labels


def test_scores_of_own_documents_and_of_the_whole_step() -> None:
    (queries, documents), _ = batch()
    whole = score_rows(queries["x"], documents["x"], in_batch=True)
    own = score_rows(queries["x"], documents["x"], in_batch=False)
    assert torch.allclose(whole, queries["x"] @ documents["x"].T)
    assert torch.allclose(own, torch.stack([whole[0, :3], whole[1, 3:]]), atol=1e-6)


@pytest.mark.parametrize("in_batch", [True, False])
def test_terms_are_the_weighted_losses(in_batch: bool) -> None:
    features, labels = batch(in_batch=in_batch)
    spec = recipe(
        in_batch=in_batch,
        kl_weight=2.0,
        infonce_weight=0.5,
        temperature=3.0,
        regulariser={"lambda_d": 0.4, "warmup_steps": 4, "reduction": "sum_of_slots"},
    )
    objective = Objective(Pass(), spec, None)
    objective.step = 1
    terms = objective(features, labels)
    scores = score_rows(features[0]["x"], features[1]["x"], in_batch=in_batch)
    penalty = flops(features[1]["x"], reduction="sum_of_slots", slots=3)
    assert torch.allclose(terms["kl"], 2 * kl(scores, labels["targets"], temperature=3.0))
    expected = infonce(scores, labels["positives"], labels["excluded"], temperature=3.0)
    assert torch.allclose(terms["infonce"], 0.5 * expected)
    assert torch.allclose(terms["regulariser"], 0.4 * 0.25 * penalty)


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
