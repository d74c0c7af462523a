"""Which number format `auto` is."""

import logging

import pytest
import torch

from sparsemill.device import choose_precision


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
