"""Matrix products of float32 by oneDNN on a CPU with AVX-512; torch asks it for half-precision alone.

torch gives float32 products to MKL, which leaves AVX-512 unused on AMD's processors (measured, one thread: 100
GFLOP/s, oneDNN 230). Without AVX-512 both are as fast, and MKL needs no copy of a transposed matrix. Both add in
float32, in another order, so results differ by rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sparsemill.models.shared_cast import shared_cast

_WIDE = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
ONEDNN: bool = _WIDE and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's own
"""Whether products are oneDNN's, which compiles and keeps one for every shape."""


def _by_onednn(left: Tensor) -> bool:
    plain = left.device.type == "cpu" and left.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    # Compiled code chooses its products itself.
    return plain and ONEDNN and not torch.compiler.is_compiling()


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left @ right.T + bias; no gradient flows through it.

    Args:
        left: [rows, width].
        right: [columns, width], of the same type.
        bias: [columns] or None.

    Returns:
        [rows, columns].
    """
    if not _by_onednn(left):
        return linear(left, right, bias)
    # torch's own operator behind its compiled models; torch is pinned to one version.
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left.contiguous(), right.contiguous(), bias, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        gradient = gradients[0]
        wanted = ctx.needs_input_grad
        return (
            product(gradient, weight.T) if wanted[0] else None,
            product(gradient.T, inputs.T) if wanted[1] else None,
            gradient.sum(0) if wanted[2] else None,
        )


class FastLinear(nn.Linear):
    """`nn.Linear` with its products by `product`, where that is the faster one.

    By autocast, layers that multiply the same input share its copy in half precision.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] to [..., out_features]."""
        if not _by_onednn(input):
            return super().forward(shared_cast(input))
        rows = input.reshape(-1, self.in_features)
        multiply = _Linear.apply if torch.is_grad_enabled() else product
        result: Tensor = multiply(rows, self.weight, self.bias)
        return result.view(*input.shape[:-1], self.out_features)


def use_fast_linear(model: nn.Module, *, fast: bool = True) -> None:
    """Make every `nn.Linear` of a model a `FastLinear`, or back, in place; parameters and their names stay."""
    old, new = (nn.Linear, FastLinear) if fast else (FastLinear, nn.Linear)
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
