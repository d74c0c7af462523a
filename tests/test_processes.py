"""Two processes train what one trains on the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stages import arguments, without_dropout
from tiny import input_places, write_inputs

from sparsemill.files import read_json, write_json
from sparsemill.job import main
from sparsemill.training.stage import run_training

SIAMESE = {
    "query_side": "splade",
    "in_batch": True,
    "regulariser": {"lambda_d": 1e-2, "mask_below": 5},
    "query_regulariser": {"lambda_q": 1e-2},
}
CASES: dict[str, dict[str, Any]] = {
    "kl, in-batch documents": {"in_batch": True, "max_grad_norm": 1.0},
    "kl, candidate lists, FLOPS by slot": {"regulariser": {"lambda_d": 1e-2, "reduction": "sum_of_slots"}},
    "infonce, in-batch documents": {"in_batch": True, "kl_weight": 0, "infonce_weight": 1.0},
    "infonce, own candidates, accumulated": {
        "kl_weight": 0,
        "infonce_weight": 1.0,
        "accumulation": 2,
        "regulariser": {"lambda_d": 0},
    },
    "infonce, in-batch negatives": {"in_batch": "negatives", "infonce_weight": 0.01, "kl_weight": 0.99},
    "infonce, in-batch positives": {"in_batch": "positives", "infonce_weight": 1.0, "kl_weight": 0.5},
    "margin_mse lists, kl, l1, anti-zero": {
        "kl_weight": 0.99,
        "margin_mse_weight": 0.05,
        "anti_zero_weight": 1.0,
        "regulariser": {"kind": "l1", "lambda_d": 1e-3, "mask_below": 5},
    },
    "siamese, FLOPS on both sides": {**SIAMESE, "infonce_weight": 1.0},
    "siamese, separate encoders, grad_cache": {**SIAMESE, "query_encoder": "separate", "grad_cache": 5},
    "grad_cache, in-batch documents": {"in_batch": True, "infonce_weight": 0.5, "grad_cache": 5},
}
DEVICE = {"in_batch": True, "gather": False}


def torchrun(*script: str) -> str:
    """Run a script as two processes; what they wrote to standard error."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--", *script]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case trained by one process and by two; the latter's output is in `log`."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("processes")
    inputs = write_inputs(root / "inputs")
    without_dropout(inputs["start"])
    for name, options in CASES.items():
        assert main("finetune", run_training, argv=arguments(inputs, root / "one" / name, **options)) == 0
    both = CASES | {"own device": DEVICE}
    write_json(root / "cases.json", [arguments(inputs, root / "two" / name, **both[name]) for name in both])
    (root / "log").write_text(torchrun(str(Path(__file__).with_name("stages.py")), str(root / "cases.json")))
    return root


def parameters(out: Path) -> dict[str, torch.Tensor]:
    """All but the biases of keys: softmax cancels them, their gradient is rounding alone, and AdamW makes it large."""
    found = load_file(out / "model" / "document_0_Transformer" / "model.safetensors")
    return {key: value for key, value in found.items() if not key.endswith("self.key.bias")}


def records(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(folder: Path, name: str) -> None:
    one, two = (parameters(folder / place / name) for place in ("one", "two"))
    assert one.keys() == two.keys()
    largest = max(float((one[key] - two[key]).abs().max()) for key in one)
    assert largest < 1e-5
    for expected, found in zip(records(folder / "one" / name), records(folder / "two" / name), strict=True):
        assert found.keys() == expected.keys()
        compared = [key for key in found if key != "time" and not key.startswith("system/")]
        assert [found[key] for key in compared] == pytest.approx(
            [expected[key] for key in compared], rel=1e-4, abs=1e-7
        )


def test_the_first_process_writes_and_says_how_many_there_were(folder: Path) -> None:
    name = next(iter(CASES))
    files = [sorted(path.name for path in (folder / place / name).iterdir()) for place in ("one", "two")]
    assert files[0] == files[1]
    found = [read_json(folder / place / name / "manifest.json")["facts"]["processes"] for place in ("one", "two")]
    assert found == [1, 2]
    assert not list((folder / "two").glob(".*"))


def test_rows_of_one_device_are_another_training_and_say_so(folder: Path) -> None:
    one = parameters(folder / "one" / "kl, in-batch documents")
    two = parameters(folder / "two" / "own device")
    assert max(float((one[key] - two[key]).abs().max()) for key in one) > 1e-4
    line = "gather is false: in-batch rows hold the documents of 4 queries, those of their own device, and not of 8"
    assert (folder / "log").read_text().count(line) == 1


def test_the_script_runs_under_torchrun_as_the_rule_calls_it(folder: Path) -> None:
    script = Path(__file__).parent.parent / "workflow" / "scripts" / "finetune.py"
    out, log = folder / "by hand", folder / "by hand.log"
    options = {"in_batch": True, "max_grad_norm": 1.0}
    line = arguments(input_places(folder / "inputs"), out, **options)
    told = torchrun(str(script), *line, "--key", "models/a/seed-0", "--log", str(log))
    assert told.count("> finetune: models/a/seed-0") == 1
    assert log.read_text()
    assert parameters(out).keys() == parameters(folder / "two" / "kl, in-batch documents").keys()
    expected = parameters(folder / "two" / "kl, in-batch documents")  # in smaller groups of texts
    for name, value in parameters(out).items():
        assert torch.allclose(value, expected[name], rtol=0, atol=1e-5), name
