"""Products by oneDNN equal torch's own up to rounding, and nothing but speed changes in a model."""

import pytest
import torch
from tiny import language_model, padded
from torch import nn
from torch.nn.functional import linear

from sparsemill.models import products
from sparsemill.models.products import FastLinear, product, use_fast_linear


@pytest.fixture(autouse=True, params=[True, False], ids=["onednn", "torch"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways on every processor."""
    monkeypatch.setattr(products, "ONEDNN", request.param)


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("rows", "columns", "width"), [(1, 1, 1), (5, 7, 3), (130, 65, 100)])
def test_equals_the_product_in_double_precision(dtype: torch.dtype, rows: int, columns: int, width: int) -> None:
    left, right, bias = drawn(rows, width, dtype=dtype), drawn(columns, width, dtype=dtype), drawn(columns, dtype=dtype)
    found = product(left, right, bias)
    assert (found.dtype, found.is_contiguous()) == (dtype, True)
    expected = linear(left.double(), right.double(), bias.double())
    tolerance = {torch.float32: 5e-5, torch.bfloat16: 0.2, torch.float64: 0.0}[dtype]
    assert (found.double() - expected).abs().max() <= tolerance


def test_transposed_operands() -> None:
    left, right = drawn(6, 9, dtype=torch.float32).T, drawn(6, 4, dtype=torch.float32).T
    assert torch.allclose(product(left, right), left @ right.T, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_equal_those_of_linear(bias: bool) -> None:
    torch.manual_seed(0)
    slow = nn.Linear(10, 6, bias=bias)
    fast = FastLinear(10, 6, bias=bias)
    fast.load_state_dict(slow.state_dict())
    grown = []
    for layer in (slow, fast):
        inputs = drawn(2, 3, 10, dtype=torch.float32).requires_grad_()
        found = layer(inputs)
        assert found.shape == (2, 3, 6)
        found.square().sum().backward()
        grown.append([inputs.grad, *(part.grad for part in layer.parameters())])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*grown, strict=True))


def test_frozen_weights_get_no_gradient() -> None:
    layer = FastLinear(4, 3).requires_grad_(False)
    inputs = drawn(2, 4, dtype=torch.float32).requires_grad_()
    layer(inputs).sum().backward()
    assert inputs.grad is not None
    assert layer.weight.grad is None


def test_autocast_still_casts() -> None:
    layer = FastLinear(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(drawn(2, 4, dtype=torch.float32)).dtype == torch.bfloat16


def test_a_model_is_the_same_with_it_and_can_be_changed_back() -> None:
    model = language_model()
    names, batch = list(model.state_dict()), padded([[2, 7, 9, 3], [2, 8, 3]])
    expected = model(**batch).logits
    use_fast_linear(model)
    assert any(isinstance(module, FastLinear) for module in model.modules())
    assert torch.allclose(model(**batch).logits, expected, atol=1e-4)
    assert list(model.state_dict()) == names
    use_fast_linear(model, fast=False)
    assert torch.equal(model(**batch).logits, expected)
