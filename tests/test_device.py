"""Which number format `auto` is, and what a process does with a GPU."""

import logging

import pytest
import torch

from sparsemill.device import choose_device, choose_precision
from sparsemill.errors import UserError
from sparsemill.training import processes
from sparsemill.training.system import system_metrics


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: request.param)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"neon": True}, "fp32"),
    ],
    indirect=["processor"],
)
@pytest.mark.usefixtures("processor")
def test_auto_is_what_the_processor_multiplies_natively(expected: str) -> None:
    assert choose_precision("auto", device="cpu") == expected


@pytest.mark.parametrize("processor", [{"avx2": True}], indirect=True)
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_what_is_named_is_taken_and_slow_ones_are_told(wanted: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_precision(wanted, device="cpu") == wanted
    assert ("emulated" in caplog.text) == (wanted == "bf16")


@pytest.mark.parametrize("allocated", [0, 1])
def test_a_process_looks_only_at_a_gpu_that_it_computes_on(monkeypatch: pytest.MonkeyPatch, allocated: int) -> None:
    """Asking a GPU for its memory makes a context there, which takes some hundred MB or fails where it is full."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: allocated)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (2**30, 2**32))
    found = {name: value for name, value in system_metrics().items() if "gpu" in name}
    expected = {"system/gpu_3_memory_usage_megabytes": 3072, "system/gpu_3_memory_usage_percentage": 75}
    assert found == (expected if allocated else {})


def test_more_processes_than_gpus_are_a_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every process, or the others would wait for those that have none."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    told = "8 processes want a GPU each, but torch sees 2; use `--set-resources pretrain:processes=2 finetune:"
    with pytest.raises(UserError, match=told):
        processes.join("cuda")


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_device(monkeypatch: pytest.MonkeyPatch, wanted: str, available: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(wanted) == expected


def test_cuda_asked_for_by_name_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU"):
        choose_device("cuda")
