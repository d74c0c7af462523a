"""The stage finetune on the tiny model, by its command line; run as a program it is one of torchrun's processes."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from sparsemill.files import read_json, write_json
from sparsemill.job import main
from sparsemill.models import even
from sparsemill.study.models import Ensemble, Training
from sparsemill.training import processes
from sparsemill.training.stage import run_training

RECIPE = {
    "training_set": "invented",
    "ensemble": "both",
    "query_side": "idf",
    "idf": "invented",
    "steps": 4,
    "queries_per_step": 8,
    "documents_per_query": 3,
    "query_length": 8,
    "document_length": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "log_steps": 2,
    "regulariser": {"lambda_d": 1e-2, "warmup_steps": 4},
}


def without_dropout(start: Path) -> None:
    """Masks of dropout depend on how documents are batched."""
    config = read_json(start / "config.json")
    write_json(start / "config.json", config | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})


def arguments(inputs: dict[str, Any], out: Path, **options: Any) -> list[str]:
    """Command line of the stage for `write_inputs`' folders."""
    spec = Training.model_validate(RECIPE | options).model_dump()
    spec |= {"seed": 0, "device": "cpu", "start": "b", "stage_version": 1}
    ensemble = Ensemble(teachers=["one", "two"], scale=10).model_dump()
    found = ["--spec", json.dumps(spec | {"ensemble_spec": ensemble}), "--out", str(out)]
    places = {name: inputs[name] for name in ("start", "collection", "candidates", "targets")}
    places |= {"idf": inputs["idf"].parent, "embeddings_one": inputs["embeddings"][0][0]}
    places |= {"embeddings_two": inputs["embeddings"][1][0]}
    for name, place in places.items():
        found += ["--in", name, str(place)]
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    even.TOKENS["cpu"] = even.FEW_SHAPES_TOKENS = (
        40  # a step in several groups of like length, which must change nothing
    )
    leave, processes.leave = processes.leave, lambda: None  # one process group for all cases
    for line in read_json(Path(sys.argv[1])):
        if status := main("finetune", run_training, argv=line):
            sys.exit(status)
    leave()
