"""Whether there is a GPU for jobs."""

from pathlib import Path

import pytest

from sparsemill.errors import UserError
from sparsemill.study.gpu import check_device, sees_gpu


@pytest.mark.parametrize(
    ("files", "visible", "expected"),
    [
        ([], None, False),
        (["nvidia0", "nvidiactl"], None, True),
        (["nvidia3", "nvidiactl"], None, True),
        (["nvidiactl", "nvidia-uvm"], None, False),
        (["nvidia0"], "0,1", True),
        (["nvidia0"], "GPU-8d5f", True),
        (["nvidia0"], "MIG-8d5f", True),
        (["nvidia0"], "", False),
        (["nvidia0"], "-1", False),
        (["nvidia0"], "NoDevFiles", False),
    ],
)
def test_a_gpu_is_there_and_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], visible: str | None, expected: bool
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for name in files:
        (tmp_path / name).touch()
    assert sees_gpu(tmp_path) == expected


def test_cuda_is_refused_where_it_is_wanted_and_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsemill.study.gpu.sees_gpu", lambda: False)
    for device, wanted in (("auto", True), ("cpu", True), ("cuda", False)):
        check_device(device, wanted=wanted)
    with pytest.raises(UserError, match=r"^config: device: cuda was asked for, but there is no GPU here; use"):
        check_device("cuda", wanted=True)
    monkeypatch.setattr("sparsemill.study.gpu.sees_gpu", lambda: True)
    check_device("cuda", wanted=True)
