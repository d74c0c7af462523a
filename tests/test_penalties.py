"""Penalties on activations, and the forms of IDF in them, by hand and against sentence-transformers."""

import math

import pytest
import torch
from torch import Tensor, nn

from sparsemill.losses.anti_zero import anti_zero
from sparsemill.losses.flops import flops
from sparsemill.losses.kl import kl
from sparsemill.losses.l0_mask import l0_mask
from sparsemill.losses.l1 import l1

ROWS = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0.0, 4.0, 2.0], [2.0, 0.0, 0.0]])
"""Two queries with two documents each."""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_flops_of_the_concatenation_by_hand() -> None:
    # means 6/4, 4/4, 4/4
    assert flops(ROWS).item() == pytest.approx(2.25 + 1 + 1)


def test_flops_per_slot_by_hand() -> None:
    # slot 0: rows 0 and 2, means 0.5, 2, 2; slot 1: rows 1 and 3, means 2.5, 0, 0
    slots = [0.25 + 4 + 4, 6.25]
    assert flops(ROWS, reduction="sum_of_slots", slots=2).item() == pytest.approx(sum(slots))
    assert flops(ROWS, reduction="mean_of_slots", slots=2).item() == pytest.approx(sum(slots) / 2)


def test_flops_with_one_slot_are_all_the_same() -> None:
    values = [flops(ROWS, reduction=name).item() for name in ("concatenation", "mean_of_slots", "sum_of_slots")]
    assert values == pytest.approx([4.25] * 3)


def test_flops_divides_by_idf_and_skips_tokens_without_one() -> None:
    idf = torch.tensor([2.0, 0.0, 0.5])
    # means of ROWS / idf: 0.75, left out, 2
    assert flops(ROWS, idf=idf).item() == pytest.approx(0.5625 + 4)
    # slot 0: 0.25, -, 4; slot 1: 1.25, -, 0
    slots = [0.0625 + 16, 1.5625]
    assert flops(ROWS, reduction="sum_of_slots", slots=2, idf=idf).item() == pytest.approx(sum(slots))


def test_flops_gradient_is_finite_where_idf_is_zero() -> None:
    documents = ROWS.clone().requires_grad_()
    flops(documents, idf=torch.tensor([2.0, 0.0, 0.5])).backward()
    assert documents.grad is not None
    assert documents.grad[:, 1].tolist() == [0.0] * 4
    assert torch.isfinite(documents.grad).all()


def test_flops_equals_that_of_sentence_transformers() -> None:
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    documents = random(12, 50).relu()
    theirs = FlopsLoss(nn.Identity()).compute_loss_from_embeddings(documents)
    assert flops(documents).item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("threshold", [20, 24, 28])
def test_l0_mask_equals_the_threshold_of_sentence_transformers(threshold: int) -> None:
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    documents = random(12, 50).relu()
    theirs = FlopsLoss(nn.Identity(), threshold=threshold).compute_loss_from_embeddings(documents)
    assert flops(l0_mask(documents, below=threshold)).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_l0_mask_by_hand() -> None:
    masked = l0_mask(ROWS, below=1)
    assert masked.tolist() == [[1, 0, 2], [0, 0, 0], [0, 4, 2], [0, 0, 0]]
    # masked documents count in the mean: 1/4, 4/4, 4/4
    assert flops(masked).item() == pytest.approx(0.0625 + 1 + 1)
    assert l0_mask(ROWS, below=2).tolist() == [[0.0] * 3] * 4


def test_l0_mask_keeps_gradients_of_what_it_keeps() -> None:
    documents = ROWS.clone().requires_grad_()
    l0_mask(documents, below=1).sum().backward()
    assert documents.grad is not None
    assert documents.grad.tolist() == [[1.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3]


def test_l1_by_hand() -> None:
    assert l1(ROWS).item() == pytest.approx((3 + 3 + 6 + 2) / 4)
    assert l1(-ROWS).item() == l1(ROWS).item()


def test_anti_zero_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert anti_zero(queries, ROWS).item() == pytest.approx(1 / 4 + 1 / 14**2)
    assert anti_zero(queries, torch.zeros(4, 3)).item() == math.inf


def test_anti_zero_pushes_activations_up() -> None:
    queries, documents = torch.ones(1, 2), torch.tensor([[1.0, 3.0]], requires_grad=True)
    anti_zero(queries, documents).backward()
    assert documents.grad is not None
    assert documents.grad.tolist() == [[-2 / 4**3] * 2]


def test_flops_of_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown reduction 'mean'"):
        flops(ROWS, reduction="mean")


def test_idf_in_the_score_is_inverse_idf_in_the_penalty() -> None:
    """With w = idf * u the two IDF-aware forms of 2411.04403 (its second and first version) are one function of u."""
    idf = random(7, seed=1).abs() + 0.1
    queries, teacher = (random(2, 7, seed=2) > 0).float(), random(2, 3, seed=3)

    def loss(scored: Tensor, weights: Tensor, penalty: Tensor) -> Tensor:
        return kl(torch.einsum("qv,qnv->qn", queries * weights, scored.view(2, 3, 7)), teacher) + 0.7 * penalty

    second, first = (random(6, 7, seed=4).relu().requires_grad_() for _ in range(2))
    matching = loss(second, idf, flops(second))
    inverse = loss(idf * first, torch.ones(7), flops(idf * first, idf=idf))
    assert matching.item() == pytest.approx(inverse.item(), rel=1e-6)
    ours, theirs = (torch.autograd.grad(value, part)[0] for value, part in ((matching, second), (inverse, first)))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_ranking_gradient_is_that_of_equation_7() -> None:
    """dL/dd_it = idf(t) q_t (softmax_stu - softmax_tea)_i, for one query."""
    idf, query = random(7, seed=1).abs(), (random(7, seed=2) > 0).float()
    documents = random(4, 7, seed=3).relu().requires_grad_()
    teacher = random(1, 4, seed=5)
    student = (documents @ (idf * query)).unsqueeze(0)
    kl(student, teacher).backward()
    difference = student.detach().softmax(1) - teacher.softmax(1)
    assert documents.grad is not None
    assert torch.allclose(documents.grad, difference.T * (idf * query), atol=1e-6)


def test_gradient_of_the_whole_objective_is_that_of_equation_7() -> None:
    """dL/dd_it = idf(t) q_t (softmax_stu - softmax_tea)_i + lambda 2/N mean_i(d_it), for one query of N documents."""
    idf, query = random(7, seed=1).abs(), (random(7, seed=2) > 0).float()
    documents = random(4, 7, seed=3).relu().requires_grad_()
    teacher, weight = random(1, 4, seed=5), 0.7
    student = (documents @ (idf * query)).unsqueeze(0)
    (kl(student, teacher) + weight * flops(documents)).backward()
    ranking = (student.detach().softmax(1) - teacher.softmax(1)).T * (idf * query)
    uniform = weight * 2 / 4 * documents.detach().mean(0)
    assert documents.grad is not None
    assert torch.allclose(documents.grad, ranking + uniform, atol=1e-6)


def test_gradients_of_the_two_idf_forms_are_one_after_the_change_of_variables() -> None:
    """With w = idf * u: scores and penalties are equal, and dL/du = idf * dL/dw."""
    idf, query, teacher = random(7, seed=1).abs() + 0.1, (random(7, seed=2) > 0).float(), random(1, 4, seed=5)
    u = random(4, 7, seed=3).relu().requires_grad_()
    w = (idf * u).detach().requires_grad_()
    assert torch.allclose(u @ (idf * query), w @ query, atol=1e-6)
    assert flops(u).item() == pytest.approx(flops(w, idf=idf).item(), rel=1e-5)
    second = kl((u @ (idf * query)).unsqueeze(0), teacher) + 0.7 * flops(u)
    first = kl((w @ query).unsqueeze(0), teacher) + 0.7 * flops(w, idf=idf)
    assert second.item() == pytest.approx(first.item(), rel=1e-5)
    by_u, by_w = (torch.autograd.grad(value, part)[0] for value, part in ((second, u), (first, w)))
    assert torch.allclose(by_u, idf * by_w, atol=1e-6)
