"""Ranking losses by hand, and against sentence-transformers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.margin_mse import margin_mse, margin_mse_lists
from sparsemill.losses.rows import score_rows


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_kl_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[0.0, 0.0]])
    # teacher 1/2, 1/2; student 1/4, 3/4
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert kl(student, teacher).item() == pytest.approx(expected)
    assert kl(student * 2, teacher, temperature=2.0).item() == pytest.approx(expected)


def test_kl_is_the_mean_over_queries_and_zero_for_equal_scores() -> None:
    student, teacher = random(3, 5), random(3, 5, seed=1)
    each = [kl(student[row : row + 1], teacher[row : row + 1]).item() for row in range(3)]
    assert kl(student, teacher).item() == pytest.approx(sum(each) / 3, rel=1e-5)
    assert kl(teacher + 3.0, teacher).item() == pytest.approx(0.0, abs=1e-6)


def test_kl_equals_that_of_sentence_transformers() -> None:
    from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss

    queries, documents, teacher = random(3, 11), random(3, 4, 11, seed=1), random(3, 4, seed=2)
    student = torch.einsum("qv,qnv->qn", queries, documents)
    model: Any = nn.Identity()
    theirs = SparseDistillKLDivLoss(model, temperature=1.0).compute_loss_from_embeddings(
        [queries, *documents.transpose(0, 1)], teacher
    )
    assert kl(student, teacher).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_teacher_temperature_divides_the_targets() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2 * math.log(3.0)]])
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert kl(student, teacher, teacher_temperature=2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize(("own", "teachers"), [(2.0, 2.0), (1.0, 4.0), (0.5, 3.0)])
def test_kl_of_sentence_transformers_has_a_factor_that_eq_1_has_not(own: float, teachers: float) -> None:
    from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss

    queries, documents, teacher = random(3, 11), random(3, 4, 11, seed=1), random(3, 4, seed=2)
    student = torch.einsum("qv,qnv->qn", queries, documents)
    model: Any = nn.Identity()
    loss = SparseDistillKLDivLoss(model, student_temperature=own, teacher_temperature=teachers)
    theirs = loss.compute_loss_from_embeddings([queries, *documents.transpose(0, 1)], teacher)
    ours = kl(student, teacher, temperature=own, teacher_temperature=teachers)
    assert ours.item() * own**2 == pytest.approx(theirs.item(), rel=1e-5)


def test_margin_mse_by_hand() -> None:
    student, teacher = (
        torch.tensor([[5.0, 2.0, 1.0], [0.0, 3.0, 1.0]]),
        torch.tensor([[4.0, 2.0, 3.0], [1.0, 2.0, 2.0]]),
    )
    # margins of columns 0 and 1: 3, 4 against 2, 1; 3, 2 against 1, 0
    expected = ((3 - 2) ** 2 + (4 - 1) ** 2 + (3 - 1) ** 2 + (2 - 0) ** 2) / 4
    assert margin_mse(student, teacher, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_margin_mse_of_lists_by_hand() -> None:
    student, teacher = torch.tensor([[5.0, 2.0, 1.0]]), torch.tensor([[4.0, 2.0, 3.0]])
    # margins 3, 4, 1 against 2, 1, -1, each in both directions, and three zeros
    assert margin_mse_lists(student, teacher).item() == pytest.approx(2 * (1 + 9 + 4) / 9)


def test_margin_mse_of_lists_is_the_mean_over_all_pairs() -> None:
    student, teacher = random(4, 7), random(4, 7, seed=1)
    ours, theirs = (scores.unsqueeze(1) - scores.unsqueeze(2) for scores in (student, teacher))
    assert margin_mse_lists(student, teacher).item() == pytest.approx(torch.mean((ours - theirs) ** 2).item(), rel=1e-5)


def test_margin_mse_of_two_documents_and_shifted_scores() -> None:
    student, teacher, first = random(4, 2), random(4, 2, seed=1), torch.zeros(4, dtype=torch.int64)
    pairs = margin_mse(student, teacher, first)
    assert margin_mse_lists(student, teacher).item() == pytest.approx(pairs.item() / 2, rel=1e-5)
    assert margin_mse(student, teacher + 3, first).item() == pytest.approx(pairs.item(), rel=1e-5)


@pytest.mark.parametrize("negatives", [1, 3])
def test_margin_mse_equals_that_of_sentence_transformers(negatives: int) -> None:
    from sentence_transformers.sparse_encoder.losses import SparseMarginMSELoss

    model: Any = nn.Identity()
    queries, documents, teacher = random(3, 11), random(3, negatives + 1, 11, seed=1), random(3, negatives + 1, seed=2)
    columns = [queries, *documents.transpose(0, 1)]
    theirs = SparseMarginMSELoss(model).compute_loss_from_embeddings(columns, teacher)
    student = torch.einsum("qv,qnv->qn", queries, documents)
    first = torch.zeros(3, dtype=torch.int64)
    assert margin_mse(student, teacher, first).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_infonce_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 1.0, 0.0]])
    excluded = torch.tensor([[False, False, False, True], [False, False, False, False]])
    first = -math.log(math.exp(1) / (math.exp(1) + math.exp(0) + math.exp(2)))
    second = -math.log(math.exp(1) / (2 * math.exp(1) + 2))
    found = infonce(student, torch.tensor([0, 2]), excluded)
    assert found.item() == pytest.approx((first + second) / 2)


def test_infonce_temperature_divides_the_scores() -> None:
    student, none = random(2, 4), torch.zeros(2, 4, dtype=torch.bool)
    own = torch.tensor([0, 3])
    assert infonce(student, own, none, temperature=0.5).item() == pytest.approx(infonce(student * 2, own, none).item())


def test_infonce_gives_excluded_documents_no_gradient() -> None:
    student = random(1, 4).requires_grad_()
    infonce(student, torch.tensor([0]), torch.tensor([[False, True, False, False]])).backward()
    assert student.grad is not None
    assert student.grad[0, 1].item() == 0
    assert torch.isfinite(student.grad).all()


def test_infonce_equals_the_ranking_loss_of_sentence_transformers() -> None:
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss

    model: Any = nn.Identity()
    queries, positives, negatives = random(3, 9), random(3, 9, seed=1), random(3, 9, seed=2)
    loss = SparseMultipleNegativesRankingLoss(model, scale=1.0)
    theirs = loss.compute_loss_from_embeddings([queries, positives, negatives], None)
    documents = torch.cat([positives, negatives])
    none = torch.zeros(3, 6, dtype=torch.bool)
    assert infonce(queries @ documents.T, torch.arange(3), none).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_infonce_with_other_positives_is_the_loss_of_splade() -> None:
    """L_rank-IBN of 2107.05720 with two own negatives: against them and the other queries' positives."""
    queries, documents = random(3, 9).abs(), random(9, 9, seed=1).abs()
    scores = score_rows(queries, documents, in_batch="positives", slots=3)
    again = torch.zeros(3, 6, dtype=torch.bool)
    again[range(3), range(3, 6)] = True
    expected = 0.0
    for query in range(3):
        row = [3 * query, 3 * query + 1, 3 * query + 2, *(3 * other for other in range(3) if other != query)]
        expected -= torch.log_softmax(documents[row] @ queries[query], 0)[0].item() / 3
    found = infonce(scores, torch.zeros(3, dtype=torch.int64), again)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_infonce_with_all_negatives_is_the_contrastive_loss_of_splade_v3() -> None:
    """Cross entropy of each query's positive against the negatives of the whole batch, each once."""
    queries, documents = random(3, 9).abs(), random(9, 9, seed=1).abs()
    positives, negatives = documents[::3], documents.view(3, 3, 9)[:, 1:].reshape(6, 9)
    logits = torch.cat([(queries * positives).sum(1, keepdim=True), queries @ negatives.T], dim=1)
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(3, dtype=torch.int64))
    scores = score_rows(queries, documents, in_batch="negatives", slots=3)
    found = infonce(scores, torch.zeros(3, dtype=torch.int64), torch.zeros(3, 7, dtype=torch.bool))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_infonce_with_other_positives_alone_is_that_of_sentence_transformers() -> None:
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss

    model: Any = nn.Identity()
    queries, documents = random(4, 9), random(4, 9, seed=1)
    theirs = SparseMultipleNegativesRankingLoss(model, scale=2.0).compute_loss_from_embeddings(
        [queries, documents], None
    )
    scores = score_rows(queries, documents, in_batch="positives", slots=1)
    again = torch.cat([torch.zeros(4, 1, dtype=torch.bool), torch.eye(4, dtype=torch.bool)], dim=1)
    found = infonce(scores, torch.zeros(4, dtype=torch.int64), again, temperature=0.5)
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)
