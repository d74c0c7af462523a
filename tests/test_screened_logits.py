"""No positive logit is lost by looking for it in bfloat16, and what is found is float32's."""

import math

import pytest
import torch
from test_max_logits import LENGTHS, RAGGED, naive, tensors
from torch import Tensor

from sparsemill.models.screened_logits import ScreenedLogits


def screened(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    with torch.inference_mode():
        return ScreenedLogits(weight)(hidden, weight, bias, lengths)


def candidates(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    head = ScreenedLogits(weight)
    return head._may_be_positive(hidden, head._raised_bias(hidden, bias), lengths)


def detached(lengths: list[int], vocabulary: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    hidden, weight, bias = tensors(lengths=lengths, vocabulary=vocabulary, width=width)
    return hidden.detach().cpu(), weight.detach().cpu(), bias.detach().cpu()


@pytest.mark.parametrize(
    ("lengths", "vocabulary", "width"), [(LENGTHS, 23, 6), (RAGGED, 2100, 70), ([1], 1, 1), ([1] * 9, 129, 64)]
)
def test_equals_the_positive_part_of_the_naive_formula(lengths: list[int], vocabulary: int, width: int) -> None:
    inputs = detached(lengths, vocabulary, width)
    found = screened(*inputs, lengths)
    assert found.dtype == torch.float32
    assert torch.allclose(found, naive(*inputs, lengths).relu(), atol=2e-5, rtol=0)
    assert (found > 0).any()


def test_a_small_logit_that_bfloat16_takes_for_negative_is_kept() -> None:
    """1 x (1 + 2^-9) - 1 is 2^-9; bfloat16 rounds the weight to 1 and the product minus a bias above it below 0."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[1 + 2.0**-9]])
    bias = torch.tensor([-1 - 2.0**-10])
    assert (hidden.bfloat16() @ weight.bfloat16().T).float() + bias < 0
    assert screened(hidden, weight, bias, [1]).item() == 2.0**-10


def test_rounding_against_each_other_costs_nothing() -> None:
    """Every factor is rounded by nearly as much as bfloat16 can, all one way; every logit is just above 0."""
    near_tie = 1 + 2.0**-8 * 0.998
    hidden = torch.full((2, 256), near_tie)
    weight = torch.full((64, 256), near_tie)
    bias = -(hidden[:1] @ weight.T).squeeze(0) + 1e-3
    assert ((hidden.bfloat16() @ weight.bfloat16().T).float() + bias < -1).all()
    found = screened(hidden, weight, bias, [1, 1])
    assert torch.allclose(found, torch.full_like(found, 1e-3), atol=2e-4)


def test_most_of_a_sparse_document_is_not_multiplied_again() -> None:
    hidden, weight, bias = detached(RAGGED, 2100, 70)
    bias -= 25
    positive = naive(hidden, weight, bias, RAGGED) > 0
    open_ones = candidates(hidden, weight, bias, RAGGED)
    assert (open_ones | ~positive).all()
    assert positive.sum() <= open_ones.sum() < 1.3 * positive.sum() + 20


def test_a_token_that_is_never_used_stays_zero() -> None:
    hidden, weight, bias = detached(LENGTHS, 23, 6)
    bias[3] = -1e4
    found = screened(hidden, weight, bias, LENGTHS)
    assert (found[:, 3] == 0).all()
    assert torch.allclose(found, naive(hidden, weight, bias, LENGTHS).relu(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("broken", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["hidden", "weight", "bias"])
def test_what_is_not_finite_is_not_hidden(which: int, broken: float) -> None:
    inputs = detached(LENGTHS, 23, 6)
    inputs[which].flatten()[0] = broken
    found, expected = screened(*inputs, LENGTHS), naive(*inputs, LENGTHS)
    assert torch.allclose(found.relu(), expected.relu(), atol=2e-5, rtol=0, equal_nan=True)
    assert not expected.isfinite().all()


def test_lengths_that_do_not_cut_the_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="do not cut"):
        screened(*detached(LENGTHS, 23, 6), [1, 2])
