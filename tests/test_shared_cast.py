"""Layers of one input share its half-precision copy, with the values and gradients of autocast."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsemill.models.products import use_fast_linear
from sparsemill.models.shared_cast import shared_cast


class Attention(nn.Module):
    """Three layers of one input, as queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.LayerNorm(8)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.norm(tokens)
        return torch.stack([layer(hidden) for layer in self.layers]).float().square().sum()


def step(model: nn.Module, tokens: Tensor) -> list[Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(tokens)
    loss.backward()
    return [loss.detach(), *(part.grad.clone() for part in model.parameters() if part.grad is not None)]


def half_copies(model: nn.Module, tokens: Tensor) -> int:
    """Storages of the input's shape and half precision that the graph keeps."""
    found = set()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.bfloat16 and tensor.shape == tokens.shape:
            found.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step(model, tokens)
    return len(found)


def test_values_and_gradients_of_autocast_from_one_copy() -> None:
    torch.manual_seed(0)
    model, tokens = Attention(), torch.randn(33, 8)
    expected = step(model, tokens)
    assert half_copies(model, tokens) == 3
    use_fast_linear(model)
    assert half_copies(model, tokens) == 1
    for _ in range(2):
        assert all(torch.equal(one, other) for one, other in zip(step(model, tokens), expected, strict=True))


def casts(*tensors: Any) -> list[Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return [shared_cast(tensor) for tensor in tensors]


def test_an_input_that_changed_is_copied_again() -> None:
    hidden = torch.ones(4, requires_grad=True) * 1
    first, same = casts(hidden, hidden)
    assert first.data_ptr() == same.data_ptr()
    hidden.mul_(2)
    (again,) = casts(hidden)
    assert again.tolist() == [2.0] * 4
    (other,) = casts(torch.full((4,), 3.0, requires_grad=True) * 1)
    assert other.tolist() == [3.0] * 4


def test_without_autocast_or_a_graph_nothing_is_copied() -> None:
    hidden = torch.ones(4, requires_grad=True) * 1
    assert shared_cast(hidden) is hidden
    leaf = torch.ones(4)
    assert casts(leaf)[0] is leaf
    with torch.no_grad():
        assert casts(hidden)[0] is hidden
    half = hidden.bfloat16()
    assert casts(half)[0] is half
