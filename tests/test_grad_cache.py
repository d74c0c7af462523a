"""GradCache adds the gradient of the whole batch, in mini-batches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsemill.training.grad_cache import cached_backward, split_rows


class Encoder(nn.Module):
    """Two layers and dropout in double use: queries and documents share the weights."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 12))
        self.largest = 0

    def forward(self, features: dict[str, Any]) -> Tensor:
        if torch.is_grad_enabled():
            self.largest = max(self.largest, len(features["x"]))
        return torch.log1p(torch.relu(self.layers(features["x"])))


def batch_loss(queries: Tensor, documents: Tensor) -> Tensor:
    """In-batch negatives and FLOPS: no mean over queries."""
    scores = queries @ documents.T
    labels = torch.arange(len(queries)) * (len(documents) // len(queries))
    return nn.functional.cross_entropy(scores, labels) + 0.1 * documents.mean(0).square().sum()


def columns() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    queries, documents = (torch.randn(rows, 5, generator=generator) for rows in (7, 14))
    return [{"x": queries, "task": "query"}, {"x": documents, "task": "document"}]


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def cached(model: Encoder, size: int) -> Tensor:
    return cached_backward(columns(), size=size, represent=model, loss=batch_loss, backward=torch.Tensor.backward)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_equals_the_whole_batch(size: int) -> None:
    torch.manual_seed(0)
    model = Encoder(0.0)
    plain = batch_loss(*(model(column) for column in columns()))
    plain.backward()
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    model.largest = 0
    assert torch.allclose(cached(model, size), plain.detach(), atol=1e-6)
    for found, wanted in zip(gradients(model), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
    assert model.largest <= size


def test_dropout_is_the_same_both_times_and_the_generator_goes_on() -> None:
    """Compared with mini-batches that all keep their graphs, which draw the same masks."""
    torch.manual_seed(0)
    model = Encoder(0.5)
    torch.manual_seed(5)
    plain = batch_loss(*(torch.cat([model(part) for part in split_rows(column, 3)]) for column in columns()))
    plain.backward()
    after = torch.rand(3)
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    assert torch.equal(cached(model, 3), plain.detach())
    assert torch.equal(torch.rand(3), after)
    for found, wanted in zip(gradients(model), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_gradients_are_added() -> None:
    torch.manual_seed(0)
    model = Encoder(0.0)
    cached(model, 4)
    once = gradients(model)
    cached(model, 4)
    for twice, first in zip(gradients(model), once, strict=True):
        assert torch.allclose(twice, 2 * first, atol=1e-6)


def test_a_side_without_gradient_is_left_alone() -> None:
    torch.manual_seed(0)
    model = Encoder(0.0)

    def represent(features: dict[str, Any]) -> Tensor:
        return torch.ones(len(features["x"]), 12) if features["task"] == "query" else model(features)

    value = cached_backward(columns(), size=4, represent=represent, loss=batch_loss, backward=torch.Tensor.backward)
    assert value.isfinite()
    assert gradients(model)


def test_rows_are_split_and_the_rest_goes_along() -> None:
    parts = split_rows({"x": torch.arange(5), "task": "query", "scale": torch.tensor(2.0)}, 2)
    assert [part["x"].tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert all(part["task"] == "query" and part["scale"] == 2 for part in parts)
