"""The sum over tokens equals the naive formula, in value and in gradient, with one logarithm or two."""

import math

import pytest
import torch
from torch import Tensor

from sparsemill.models import sum_activations as module
from sparsemill.models.activation import activate, slope
from sparsemill.models.sum_activations import sum_activations

LENGTHS = [3, 1, 5, 2]
ACTIVATIONS = ["log1p_relu", "double_log"]


def naive(hidden: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    weights = torch.log1p(torch.relu(hidden @ weight.T + bias))
    weights = torch.log1p(weights) if activation == "double_log" else weights
    return torch.stack([part.sum(0) for part in weights.split(LENGTHS)])


def tensors(dtype: torch.dtype = torch.float32, *, vocabulary: int = 23) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    return normal(sum(LENGTHS), 6), normal(vocabulary, 6), normal(vocabulary)


def test_activations_by_hand() -> None:
    logits = torch.tensor([-2.0, 0.0, math.e - 1])
    assert activate(logits, "log1p_relu").tolist() == pytest.approx([0, 0, 1])
    assert activate(logits, "double_log").tolist() == pytest.approx([0, 0, math.log(2)])
    assert slope(logits, "log1p_relu").tolist() == pytest.approx([0, 0, 1 / math.e])
    assert slope(logits, "double_log").tolist() == pytest.approx([0, 0, 1 / math.e / 2])


def test_by_hand() -> None:
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = sum_activations(hidden, weight, torch.tensor([0.0, 1.0]), [2, 1])
    # logits: [1, 1], [0, 3] and [-1, 0]
    assert found.tolist() == [pytest.approx([math.log(2), math.log(2) + math.log(4)]), [0, 0]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("chunk", [1, 4, 22, 23, 24, 4096])
def test_equals_the_naive_formula_whatever_the_slice(
    monkeypatch: pytest.MonkeyPatch, chunk: int, activation: str
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    inputs = tensors()
    found = sum_activations(*inputs, LENGTHS, activation=activation)
    assert found.dtype == torch.float32
    assert torch.allclose(found, naive(*inputs, activation), atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_equal_those_of_the_naive_graph(monkeypatch: pytest.MonkeyPatch, activation: str) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    ours, theirs = tensors(), tensors()
    upstream = torch.randn(len(LENGTHS), 23, generator=torch.Generator().manual_seed(2))
    sum_activations(*ours, LENGTHS, activation=activation).backward(upstream)
    naive(*theirs, activation).backward(upstream)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, reference.grad, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck_in_double_precision(monkeypatch: pytest.MonkeyPatch, activation: str) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    inputs = tensors(torch.float64, vocabulary=9)
    assert torch.allclose(sum_activations(*inputs, LENGTHS, activation=activation), naive(*inputs, activation))
    assert torch.autograd.gradcheck(lambda *parts: sum_activations(*parts, LENGTHS, activation=activation), inputs)


def test_half_precision_accumulates_in_single() -> None:
    hidden, weight, bias = tensors(torch.bfloat16)
    found = sum_activations(hidden, weight, bias, LENGTHS)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert (hidden.grad.dtype, weight.grad.dtype, bias.grad.dtype) == (torch.bfloat16,) * 3
    assert torch.allclose(found, naive(hidden.float(), weight.float(), bias.float(), "log1p_relu"), atol=0.1)


def test_under_autocast_value_and_gradient_are_of_one_precision() -> None:
    """As with a decoder's input in half precision: the gradient is that of the value that was given."""
    wide, half = tensors(), tensors()
    with torch.autocast("cpu", torch.bfloat16):
        found = sum_activations(*wide, LENGTHS)
    expected = sum_activations(half[0].bfloat16(), *half[1:], LENGTHS)
    assert torch.equal(found, expected)
    for output in (found, expected):
        output.square().sum().backward()
    assert torch.equal(wide[0].grad.bfloat16().float(), half[0].grad)
    assert all(torch.equal(ours.grad, theirs.grad) for ours, theirs in zip(wide[1:], half[1:], strict=True))


@pytest.mark.parametrize("lengths", [[11, 0], [3, 1, 5], []])
def test_lengths_that_do_not_cut_the_tokens_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not cut 11 tokens into non-empty documents"):
        sum_activations(*tensors(), lengths)
