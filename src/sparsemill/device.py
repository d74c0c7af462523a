"""Where torch computes, and in which number format."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from sparsemill.errors import UserError

logger = logging.getLogger(__name__)


def choose_device(wanted: str) -> str:
    """`cuda` or `cpu` for `auto`, `cpu` or `cuda`.

    Raises:
        UserError: CUDA was asked for by name and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("device: cuda was asked for, but torch sees no GPU; use device: auto or cpu")
    return "cuda" if wanted != "cpu" and available else "cpu"


def multiplies_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 in hardware; x86 processors without take eight times as long as for fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return any(found.get(name) is True for name in ("avx512_bf16", "amx_bf16"))


def choose_precision(wanted: str, *, device: str) -> str:
    """The number format of matrix products on a device.

    Args:
        wanted: `auto` is `bf16` where the device multiplies it in hardware, else `fp32`; any other stays.
        device: `cpu` or `cuda`.
    """
    if wanted == "auto":
        return "bf16" if multiplies_bf16(device) else "fp32"
    if wanted == "bf16" and not multiplies_bf16(device):
        logger.warning("precision: bf16 is emulated on this %s, which is slow; precision: auto takes fp32 here", device)
    return wanted


def set_torch_threads(count: int) -> None:
    """Make torch compute on `count` threads."""
    torch.set_num_threads(count)


def chosen_precision(spec: Mapping[str, Any], *, device: str) -> dict[str, str]:
    """`precision` as this machine decides it, where the spec leaves it open; nothing where the spec says it.

    Args:
        spec: of a stage that computes with a model; may hold `precision`.
        device: `auto`, `cpu` or `cuda`.
    """
    if spec.get("precision") != "auto":
        return {}
    return {"precision": choose_precision("auto", device=choose_device(device))}
