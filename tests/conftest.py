"""Fixtures that several test modules use."""

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Set before anything imports triton: its kernels then run on CPU tensors.
    os.environ.setdefault("TRITON_INTERPRET", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real collections and reference files beside the checkout; tests that need them are skipped without."""
    folder = Path(os.environ.get("SPARSEMILL_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real collections at {folder}")
    return folder
