"""The stages pretrain and finetune: from a job to a trained model."""

from pathlib import Path
from typing import Any

from sparsemill.job import Job, input_contents
from sparsemill.quiet import quiet_libraries
from sparsemill.study.models import Ensemble, Training

_NOT_TRAINING = {"ensemble_spec", "device", "seed", "stage_version", "backbone", "start"}


def _recipe(spec: dict[str, Any]) -> Training:
    return Training.model_validate({key: value for key, value in spec.items() if key not in _NOT_TRAINING})


def _start_folder(folder: Path) -> Path:
    """A backbone is a model folder; a pre-trained retriever holds one as its document encoder."""
    trained = folder / "model" / "document_0_Transformer"
    return trained if trained.exists() else folder


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
        collection=job.input("collection"),
        candidates=job.input("candidates"),
        idf=job.input("idf") / "idf.json",
        ensemble=ensemble,
        targets=job.input("targets") if "targets" in job.inputs else None,
        embeddings=[job.inputs[f"embeddings_{name}"] for name in siamese],
        out=job.out,
        state=state_folder(job.state, {"spec": spec, "inputs": input_contents(job.inputs)}),
        seed=spec["seed"],
        device=job.device,
        label=job.key,
        stream=stream,
    )
    job.facts.update(facts)
