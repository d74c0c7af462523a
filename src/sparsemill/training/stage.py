"""The stages pretrain and finetune: from a job to a trained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsemill.job import Job, input_contents
from sparsemill.quiet import quiet_libraries
from sparsemill.study.models import Ensemble, Training
from sparsemill.training.files import SetFiles

_NOT_TRAINING = {"ensemble_spec", "device", "seed", "stage_version", "backbone", "start", "mixture"}


def _recipe(spec: dict[str, Any]) -> Training:
    return Training.model_validate({key: value for key, value in spec.items() if key not in _NOT_TRAINING})


def _start_folder(folder: Path) -> Path:
    """A backbone is a model folder; a pre-trained retriever holds one as its document encoder."""
    trained = folder / "model" / "document_0_Transformer"
    return trained if trained.exists() else folder


def _sets(job: Job, siamese: Sequence[str]) -> list[SetFiles]:
    """The training set, or the members of a mixture; inputs of member k end in `_k`.

    Args:
        siamese: teachers whose embeddings are read.
    """
    spec = job.spec
    found = []
    for number, weight in enumerate(spec.get("mixture", {"": 1.0}).values()):
        end = f"_{number}" if "mixture" in spec else ""
        single = {
            name: job.input(name + end) if name + end in job.inputs else None for name in ("targets", "false_negatives")
        }
        found.append(
            SetFiles(
                job.input(f"collection{end}"),
                job.input(f"candidates{end}"),
                embeddings=[job.inputs[f"embeddings_{name}{end}"] for name in siamese],
                weight=weight,
                **single,
            )
        )
    return found


def run_training(job: Job) -> None:
    """Train as `job.spec` says; resumes from `job.state` where a run of the same spec and inputs was stopped."""
    quiet_libraries()
    from sparsemill.device import choose_device, set_torch_threads
    from sparsemill.tracking.live import open_stream
    from sparsemill.training.recipe import state_folder, train

    job.device = choose_device(job.spec["device"])
    set_torch_threads(job.threads)
    spec = job.spec
    stream = open_stream(job)
    recipe = _recipe(spec)
    ensemble = None if spec["ensemble_spec"] is None else Ensemble.model_validate(spec["ensemble_spec"])
    siamese = ensemble.teachers if ensemble is not None and recipe.in_batch == "documents" else []
    facts = train(
        recipe,
        start=_start_folder(job.input("start")),
        sets=_sets(job, siamese),
        idf=job.input("idf") / "idf.json",
        ensemble=ensemble,
        out=job.out,
        state=state_folder(job.state, {"spec": spec, "inputs": input_contents(job.inputs)}),
        seed=spec["seed"],
        device=job.device,
        label=job.key,
        stream=stream,
    )
    job.facts.update(facts)
