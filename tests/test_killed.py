"""A training that is killed (`kill -9`) at any moment goes on to the bytes of one that was not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import MOMENTS
from tiny import input_places, write_inputs
from trained import contents, records, run, timeless


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `inputs`, and what every killed training has left."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("killed")
    write_inputs(root / "inputs")
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(root / "inputs"), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.fixture(scope="module")
def wholes() -> dict[str, Any]:
    """Uninterrupted runs by their options."""
    return {}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_goes_on_to_the_same_bytes(folder: Path, wholes: dict[str, Any], moment: str) -> None:
    _, options, resumed_at = MOMENTS[moment]
    inputs = input_places(folder / "inputs")
    if str(options) not in wholes:
        whole = folder / f"whole {len(wholes)}"
        run(inputs, whole, **options)
        wholes[str(options)] = whole / "out"
    facts, found = run(inputs, folder / moment, **options)
    assert facts["resumed_at_step"] == resumed_at
    assert contents(folder / moment / "out") == contents(wholes[str(options)])
    assert timeless(found) == timeless(records(wholes[str(options)]))
