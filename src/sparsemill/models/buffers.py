"""Buffers that no checkpoint holds, such as the cosines of rotary positions, in models with code of their own."""

from copy import deepcopy
from typing import Any


def refill_buffers(model: Any) -> None:
    """Give non-persistent buffers the values that the model's code computes, in place.

    transformers makes a model on the meta device before it reads weights. Its own models compute these buffers again
    afterwards; in models whose code comes with the checkpoint they are left as memory happens to be.

    Args:
        model: from `from_pretrained`, of any type and on any device; transformers' own models stay as they are.
    """
    from accelerate import init_empty_weights

    if type(model).__module__.startswith("transformers."):
        return
    buffers = dict(model.named_non_persistent_buffers())
    if not buffers:
        return
    with init_empty_weights(include_buffers=False):  # no second copy of the weights
        computed = type(model)(deepcopy(model.config))
    for name, buffer in buffers.items():
        buffer.copy_(computed.get_buffer(name))
