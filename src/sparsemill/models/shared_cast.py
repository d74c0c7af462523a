"""One half-precision copy of an input that several layers multiply, as queries, keys and values do.

Autocast makes a copy for each layer, and each keeps its own for the backward pass. Gradients come back one by one and
are added in the input's own type, as with autocast.
"""

import weakref
from typing import Any

import torch
from torch import Tensor

_last: list[tuple[weakref.ref[Tensor], int, Tensor]] = []
"""The latest input, its version, and its copy; one entry, since layers that share an input run one after another."""


def _copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    for known, version, copy in _last:
        if known() is tensor and version == tensor._version and copy.dtype == dtype:
            return copy
    copy = tensor.detach().to(dtype)
    _last[:] = [(weakref.ref(tensor), tensor._version, copy)]
    return copy


class _SharedCast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = tensor.dtype
        return _copy(tensor, dtype).detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].to(ctx.dtype), None


def shared_cast(tensor: Tensor) -> Tensor:
    """What autocast on a CPU makes of a layer's input, before the layer does: the same copy for all that follow.

    Args:
        tensor: any shape.

    Returns:
        `tensor` in autocast's type where a graph would keep it; else `tensor` itself.
    """
    single = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    kept = tensor.requires_grad and torch.is_grad_enabled()
    if not single or not kept or not torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return tensor
    dtype = torch.get_autocast_dtype("cpu")
    result: Tensor = _SharedCast.apply(tensor, dtype)  # type: ignore[no-untyped-call]  # torch's own
    return result
