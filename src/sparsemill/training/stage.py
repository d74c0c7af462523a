"""The stages pretrain and finetune: from a job to a trained model."""

from collections.abc import Sequence
from pathlib import Path

from sparsemill.job import Job
from sparsemill.quiet import quiet_libraries
from sparsemill.study.models import Ensemble, Training
from sparsemill.training.files import SetFiles

_TABLE = "query_weights.json"
_NOT_TRAINING = {
    "ensemble_spec",
    "device",
    "seed",
    "stage_version",
    "backbone",
    "start",
    "mixture",
    "head",
    "trust_remote_code",
}


def _recipe(job: Job) -> Training:
    spec = {key: value for key, value in job.spec.items() if key not in _NOT_TRAINING}
    # No part of the spec, since it changes nothing that is made.
    beside = {key: job.facts[key] for key in ("checkpoint_steps",) if key in job.facts}
    return Training.model_validate(spec | beside)


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


def _query_start(job: Job) -> Path:
    """Where a separate query encoder starts: at its backbone, where pre-training left it, or as documents do."""
    if "query_start" in job.inputs:
        return job.input("query_start")
    trained = job.input("start") / "model" / "query_0_Transformer"
    return trained if trained.exists() else _start_folder(job.input("start"))


def _weights(job: Job, spec: Training) -> Path | None:
    """The IDF table; without one, a learned query side goes on from the table of a pre-trained retriever."""
    if "idf" in job.inputs:
        return job.input("idf") / "idf.json"
    table = job.input("start") / _TABLE
    return table if spec.query_side == "learned" and table.exists() else None


def run_training(job: Job) -> None:
    """Train as `job.spec` says; resumes from `job.state` where a run of the same spec and inputs was stopped.

    Under `torchrun` every process calls this; the first one writes.
    """
    quiet_libraries()
    from sparsemill.device import choose_device, choose_precision, chosen_precision, set_torch_threads
    from sparsemill.tracking.live import open_stream
    from sparsemill.training import processes
    from sparsemill.training.recipe import train

    job.device = choose_device(job.spec["device"])
    set_torch_threads(job.threads)
    processes.join(job.device)
    spec = job.spec
    stream = open_stream(job)
    recipe = _recipe(job)
    precision = choose_precision(recipe.precision, device=job.device)
    recipe = recipe.model_copy(update={"precision": precision})
    ensemble = None if spec["ensemble_spec"] is None else Ensemble.model_validate(spec["ensemble_spec"])
    siamese = ensemble.teachers if ensemble is not None and recipe.in_batch == "documents" else []
    with processes.first_goes_first():
        state = job.own_state(**chosen_precision(spec, device=job.device))
    facts = train(
        recipe,
        start=_start_folder(job.input("start")),
        sets=_sets(job, siamese),
        query_start=_query_start(job),
        idf=_weights(job, recipe),
        ensemble=ensemble,
        out=job.out,
        state=state,
        seed=spec["seed"],
        device=job.device,
        label=job.key,
        stream=stream,
        head=spec.get("head", "chunked"),
        trust_remote_code=spec.get("trust_remote_code", False),
    )
    job.facts.update(facts, precision=precision)
    processes.leave()
