"""Whole training runs on a tiny model, and how tests compare them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tiny import training_inputs
from torch import Tensor

from sparsemill.study.models import Ensemble, Training
from sparsemill.training.recipe import train

RECIPE = {
    "training_set": "invented",
    "ensemble": "both",
    "query_side": "idf",
    "idf": "invented",
    "steps": 8,
    "queries_per_step": 4,
    "documents_per_query": 3,
    "query_length": 8,
    "document_length": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "checkpoint_steps": 3,
    "log_steps": 2,
    "regulariser": {"lambda_d": 1e-3, "warmup_steps": 4},
}


ENSEMBLE = Ensemble(teachers=["one", "two"], scale=10)


def run(
    inputs: dict[str, Any],
    folder: Path,
    *,
    seed: int = 0,
    teachers: Ensemble | None = ENSEMBLE,
    stream: Callable[[dict[str, float]], None] = lambda record: None,
    device: str = "cpu",
    **options: Any,
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Train into `folder`/out with checkpoints in `folder`/state; facts and metric records."""
    out, state = folder / "out", folder / "state"
    out.mkdir(parents=True, exist_ok=True)
    state.mkdir(exist_ok=True)
    facts = train(
        Training.model_validate(RECIPE | options),
        **training_inputs(inputs),
        ensemble=teachers,
        out=out,
        state=state,
        seed=seed,
        device=device,
        label="test",
        stream=stream,
    )
    return facts, records(out)


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(found: list[dict[str, float]]) -> list[dict[str, float]]:
    """Records without the clock and the state of the machine."""
    return [
        {name: value for name, value in record.items() if name != "time" and not name.startswith("system/")}
        for record in found
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Every output file but the metrics, whose times differ."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def parameters(folder: Path) -> dict[str, Tensor]:
    """Of all encoders and tables, but the biases of keys: softmax cancels them, their gradient is rounding alone, and
    AdamW makes it large.
    """
    files = sorted((folder / "model").rglob("*.safetensors"))
    found = {f"{file.parent.name}/{key}": value for file in files for key, value in load_file(file).items()}
    return {key: value for key, value in found.items() if not key.endswith("self.key.bias")}


class StoppedError(Exception):
    """Stands for a killed process."""


def stop_at(step: int) -> Callable[[dict[str, float]], None]:
    def stream(record: dict[str, float]) -> None:
        if record["step"] >= step:
            raise StoppedError

    return stream
