"""Representations of all processes, so that a loss sees the whole step however many devices share it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _GatherRows(torch.autograd.Function):
    """Backward keeps the gradient of the local rows, times the number of processes.

    Every process computes the same loss L of all rows; the gradient of a parameter is the sum over processes of what
    flows through their own rows. DistributedDataParallel averages instead, hence the factor.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        ctx.rows = len(local)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        first = dist.get_rank() * ctx.rows
        return gradients[0][first : first + ctx.rows] * dist.get_world_size()


def gather_rows(local: Tensor) -> Tensor:
    """Rows of all processes, those of process 0 first; `local` itself where there is one process.

    Differentiable in the local rows, for training with gradients that are averaged over the processes.

    Args:
        local: [rows, vocabulary], as many rows in every process.

    Returns:
        [processes * rows, vocabulary].
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return local
    rows: Tensor = _GatherRows.apply(local)  # type: ignore[no-untyped-call]  # torch's own
    return rows
