"""GradCache: a large batch in the memory of a small one (Gao et al., 2101.06983).

Losses with batch statistics (in-batch negatives, FLOPS) cannot be accumulated over micro-batches. Their gradient with
respect to the representations can be had without any encoder's graph, and is then sent through the encoder one
mini-batch at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

Features = dict[str, Any]


def split_rows(features: Features, size: int) -> list[Features]:
    """Mini-batches of at most `size` rows; what is no tensor with rows goes into each."""
    rows = max(len(value) for value in features.values() if isinstance(value, Tensor) and value.ndim)
    return [
        {
            name: value[start : start + size] if isinstance(value, Tensor) and value.ndim else value
            for name, value in features.items()
        }
        for start in range(0, rows, size)
    ]


class _Randomness(NamedTuple):
    """States of the random generators before a mini-batch, so that dropout is the same the second time."""

    cpu: Tensor
    devices: list[int]
    states: list[Tensor]

    @classmethod
    def now(cls, features: Features) -> "_Randomness":
        tensors = [value for value in features.values() if isinstance(value, Tensor)]
        return cls(torch.get_rng_state(), *get_device_states(*tensors))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Run the block with these states; afterwards the generators are as they were before it."""
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.states)
            yield


def cached_backward(
    columns: Sequence[Features],
    *,
    size: int,
    represent: Callable[[Features], Tensor],
    loss: Callable[..., Tensor],
    backward: Callable[[Tensor], None],
) -> Tensor:
    """Add the gradient of `loss(*[represent(column) for column in columns])` to the parameters.

    Each mini-batch is represented twice: without a graph for the loss, with one for its own share of the gradient.
    Equals the loss of mini-batches that all keep their graphs; without dropout, the loss of whole columns.

    Args:
        columns: the inputs of queries and of documents.
        size: rows of a mini-batch.
        represent: inputs -> [rows, vocabulary].
        loss: one tensor of representations per column -> scalar.
        backward: sends the loss back (scaled, where a gradient scaler is used).

    Returns:
        The loss, detached.
    """
    batches = [split_rows(features, size) for features in columns]
    randomness: list[list[_Randomness]] = [[] for _ in batches]
    leaves = []
    for column, states in zip(batches, randomness, strict=True):
        rows = []
        for features in column:
            states.append(_Randomness.now(features))
            with torch.no_grad():
                rows.append(represent({**features}))  # modules write into what they are given
        leaves.append(torch.cat(rows).requires_grad_())
    value = loss(*leaves)
    backward(value)
    for column, states, leaf in zip(batches, randomness, leaves, strict=True):
        if leaf.grad is not None:
            for features, state, gradient in zip(column, states, torch.split(leaf.grad, size), strict=True):
                with state.replayed():
                    rows_again = represent({**features})
                    if rows_again.requires_grad:
                        rows_again.backward(gradient)  # type: ignore[no-untyped-call]  # torch's own
    return value.detach()
