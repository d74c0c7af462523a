"""Several processes that train one model together, as `torchrun` starts them; without it every function is a no-op."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from sparsemill.errors import UserError

T = TypeVar("T")


def _take_gpu() -> None:
    wanted, seen = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if wanted > seen:
        raise UserError(
            f"{wanted} processes want a GPU each, but torch sees {seen}; "
            f"use `--set-resources pretrain:processes={seen} finetune:processes={seen}`"
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def join(device: str) -> None:
    """Join the processes that `torchrun` started; `device` is `cpu` or `cuda`, one GPU per process.

    Raises:
        UserError: there are fewer GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if device == "cuda":
        _take_gpu()
    dist.init_process_group("nccl" if device == "cuda" else "gloo")


def on_one_gpu(arguments: Any) -> Any:
    """The trainer's arguments, with one GPU for this process.

    Without `torchrun`, the trainer of transformers takes every GPU that it sees: `DataParallel`, and a batch that is as
    many times as large.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def leave() -> None:
    """Wait for the others and leave them."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def count() -> int:
    """Processes that train together, at least 1."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """This process, from 0; process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Wait until every process has come here."""
    if dist.is_initialized():
        dist.barrier()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Process 0 runs the block before the others do."""
    if number() > 0:
        wait()
    yield
    if number() == 0:
        wait()


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of what all share: consecutive, of equal size."""
    size = len(items) // count()
    return items[number() * size : (number() + 1) * size]


def mean(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Values averaged over the processes; every process gives the same names."""
    if count() == 1:
        return values
    numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(numbers)
    return dict(zip(values, (numbers / count()).tolist(), strict=True))


def average_gradients(model: torch.nn.Module) -> None:
    """Average the gradients of the parameters over the processes, in place."""
    if count() == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= count()
