"""Whether jobs will see a GPU, told without torch, which takes seconds to import."""

import os
import re
import shutil
from pathlib import Path

from sparsemill.errors import UserError

_NAMED = re.compile(r"\s*(\d|GPU-|MIG-)")
"""What starts a list of devices that CUDA reads; any other hides all of them."""


def sees_gpu(devices: Path = Path(os.sep, "dev")) -> bool:
    """Whether there is a driver of NVIDIA's and `CUDA_VISIBLE_DEVICES` does not hide every GPU from jobs.

    Args:
        devices: folder with `nvidia0`, or with another number in a container that has another GPU.
    """
    driver = shutil.which("nvidia-smi") is not None or any(devices.glob("nvidia[0-9]*"))
    return driver and _NAMED.match(os.environ.get("CUDA_VISIBLE_DEVICES", "0")) is not None


def check_device(device: str, *, wanted: bool) -> None:
    """Refuse `device: cuda` on a machine without a GPU.

    Args:
        device: that of the study.
        wanted: something that would use it is to run here.

    Raises:
        UserError: told before a job starts, since one that fails has already lost the output that it would replace, and
            all that is made from it would be made again.
    """
    if device == "cuda" and wanted and not sees_gpu():
        raise UserError("config: device: cuda was asked for, but there is no GPU here; use device: auto or cpu")
