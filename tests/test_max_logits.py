"""The folded maximum equals the naive formula, in value and in gradient."""

import pytest
import torch
from torch import Tensor

from sparsemill.models import max_logits as module
from sparsemill.models.max_logits import max_logits

LENGTHS = [3, 1, 5, 2]


def naive(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    logits = hidden @ weight.T + bias
    return torch.stack([part.amax(0) for part in logits.split(lengths)])


def tensors(dtype: torch.dtype = torch.float32, *, vocabulary: int = 23) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    return normal(sum(LENGTHS), 6), normal(vocabulary, 6), normal(vocabulary)


@pytest.mark.parametrize("chunk", [1, 4, 22, 23, 24, 4096])
def test_equals_the_naive_formula_whatever_the_slice(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    hidden, weight, bias = tensors()
    found = max_logits(hidden, weight, bias, LENGTHS)
    assert found.dtype == torch.float32
    assert torch.allclose(found, naive(hidden, weight, bias, LENGTHS), atol=1e-6, rtol=0)


def test_by_hand() -> None:
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = max_logits(hidden, weight, torch.tensor([0.0, 0.5, -3.0]), [2, 1])
    assert found.tolist() == [[1.0, 2.5, -1.0], [-1.0, -0.5, -5.0]]


def test_gradients_equal_those_of_the_naive_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    ours, theirs = tensors(), tensors()
    upstream = torch.randn(len(LENGTHS), 23, generator=torch.Generator().manual_seed(2))
    upstream[0] = 0
    upstream[:, 5] = 0
    max_logits(*ours, LENGTHS).backward(upstream)
    naive(*theirs, LENGTHS).backward(upstream)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.grad is not None
        assert reference.grad is not None
        assert torch.allclose(mine.grad, reference.grad, atol=1e-5)


def test_gradcheck_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    inputs = tensors(torch.float64, vocabulary=9)
    assert max_logits(*inputs, LENGTHS).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda *parts: max_logits(*parts, LENGTHS), inputs)


def test_through_splade_activation_gradients_agree() -> None:
    ours, theirs = tensors(), tensors()
    torch.log1p(torch.relu(max_logits(*ours, LENGTHS))).square().sum().backward()
    torch.log1p(torch.relu(naive(*theirs, LENGTHS))).square().sum().backward()
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, reference.grad, atol=1e-5)


def test_half_precision_accumulates_in_single() -> None:
    hidden, weight, bias = tensors(torch.bfloat16)
    found = max_logits(hidden, weight, bias, LENGTHS)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert (hidden.grad.dtype, weight.grad.dtype, bias.grad.dtype) == (torch.bfloat16,) * 3
    assert torch.allclose(found, naive(hidden.float(), weight.float(), bias.float(), LENGTHS), atol=0.05)


@pytest.mark.parametrize("lengths", [[11, 0], [3, 1, 5], [3, 1, 5, 3], [-1, 12], []])
def test_lengths_that_do_not_cut_the_tokens_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not cut 11 tokens into non-empty documents"):
        max_logits(*tensors(), lengths)
