"""Where torch computes."""

import torch

from sparsemill.errors import UserError


def choose_device(wanted: str) -> str:
    """`cuda` or `cpu` for `auto`, `cpu` or `cuda`.

    Raises:
        UserError: CUDA was asked for by name and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("device: cuda was asked for, but torch sees no GPU; use device: auto or cpu")
    return "cuda" if wanted != "cpu" and available else "cpu"


def set_torch_threads(count: int) -> None:
    """Make torch compute on `count` threads."""
    torch.set_num_threads(count)
