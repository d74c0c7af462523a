"""One training run from start to saved model; pre-training and fine-tuning differ only in their inputs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from sparsemill.errors import UserError
from sparsemill.files import canonical_json, read_json, text_hash
from sparsemill.models.encoder import query_weights, save_encoder
from sparsemill.models.head import attach_head, detach_head
from sparsemill.progress import Progress
from sparsemill.study.models import Ensemble, Training
from sparsemill.teachers.cache import load_embeddings
from sparsemill.training.collator import Collator
from sparsemill.training.data import CandidateTargets, InBatchTargets, SetData, Targets, TrainingData, load_data
from sparsemill.training.files import SetFiles
from sparsemill.training.metrics import Recorder, Stream, truncate_records
from sparsemill.training.mixture import MixtureSchedule, MixtureTargets, draw_sets, join_data, shifts
from sparsemill.training.objective import Objective
from sparsemill.training.schedule import Record, Schedule
from sparsemill.training.start import QueryTable, build_start, start_weights
from sparsemill.training.trainer import Trainer, last_checkpoint, make_deterministic, training_arguments


def state_folder(root: Path, identity: dict[str, Any]) -> Path:
    """Where checkpoints of this spec and these inputs live; others are removed, so that a changed run starts anew."""
    folder = root / text_hash(canonical_json(identity))
    for other in root.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def load_targets(spec: Training, data: SetData, files: SetFiles, *, ensemble: Ensemble) -> Targets:
    """Targets of the recipe: from cached embeddings for rows of the whole step, else those of candidate lists."""
    if spec.in_batch == "documents":
        return InBatchTargets(data, [load_embeddings(folders) for folders in files.embeddings], ensemble)
    if files.targets is None:
        raise UserError("in_batch is not `documents`, but no targets were given")
    return CandidateTargets(data, files.targets)


def _schedule(spec: Training, data: SetData, seed: int) -> Schedule:
    if len(data.rows) < spec.queries_per_step:
        raise UserError(
            f"training set {data.table.file.parent.name}: {len(data.rows)} queries are fewer than queries_per_step "
            f"({spec.queries_per_step})"
        )
    return Schedule(
        data.positives,
        data.negatives,
        records=spec.steps * spec.queries_per_step,
        documents_per_query=spec.documents_per_query,
        seed=seed,
    )


def _mixture(spec: Training, data: Sequence[SetData], weights: Sequence[float], seed: int) -> MixtureSchedule:
    return MixtureSchedule(
        [_schedule(spec, part, seed) for part in data],
        shifts(data),
        drawn=draw_sets(weights, steps=spec.steps, seed=seed),
        queries_per_step=spec.queries_per_step,
    )


def load_sets(
    spec: Training, sets: Sequence[SetFiles], *, ensemble: Ensemble | None, cache: Path, seed: int
) -> tuple[TrainingData, Targets | None, Dataset[Record]]:
    """Data, targets and schedule of the recipe, over one training set or over several.

    Args:
        ensemble: None: there are no targets.
        cache: folder for memory-mapped texts.
    """
    data = [
        load_data(
            files.collection,
            files.candidates,
            false_negatives=files.false_negatives,
            negatives=spec.documents_per_query > 1,
            cache=cache / str(number),
        )
        for number, files in enumerate(sets)
    ]
    pairs = zip(data, sets, strict=True)
    targets = [load_targets(spec, *pair, ensemble=ensemble) for pair in pairs] if ensemble is not None else []
    if len(data) == 1:
        return data[0], targets[0] if targets else None, _schedule(spec, data[0], seed)
    mixed = MixtureTargets(targets, shifts(data)) if targets else None
    return join_data(data), mixed, _mixture(spec, data, [files.weight for files in sets], seed)


def idf_vector(weights: dict[str, float]) -> torch.Tensor:
    """[vocabulary], weights in id order."""
    return torch.tensor(list(weights.values()))


def train(
    spec: Training,
    *,
    start: Path,
    sets: Sequence[SetFiles],
    idf: Path | None,
    ensemble: Ensemble | None,
    query_start: Path | None = None,
    out: Path,
    state: Path,
    seed: int,
    device: str,
    label: str,
    stream: Stream,
    head: str = "chunked",
) -> dict[str, Any]:
    """Train a retriever and save it.

    Args:
        spec: the recipe.
        start: folder of a masked language model.
        sets: texts, candidates and teachers' scores; every step takes its queries from one of the sets.
        idf: `idf.json`, for the query side or the penalty; for a learned query side also a `query_weights.json`.
        ensemble: how teacher scores are combined; None: nothing is distilled.
        query_start: folder of the masked language model of a separate query encoder (None: `start`).
        out: folder for the model and `metrics.jsonl`.
        state: folder of checkpoints; a run that was stopped goes on from the last one.
        seed: of data order and torch.
        device: `cpu` or `cuda`.
        label: of progress lines.
        stream: gets every metric record as it is written.
        head: implementation of the SPLADE head, `chunked` or `triton`.

    Returns:
        Facts: queries, steps resumed from, last record.

    Raises:
        UserError: too few queries, collapsed or diverged training.
    """
    make_deterministic(seed)
    data, targets, schedule = load_sets(spec, sets, ensemble=ensemble, cache=state / "texts", seed=seed)
    weights = start_weights(spec, start, idf)
    encoder = build_start(spec, start, weights, query_start=query_start)
    table = QueryTable(encoder) if spec.query_side == "learned" else None
    attach_head(encoder, kind=head, device=device)
    collator = Collator(data, targets, encoder.preprocess, in_batch=spec.in_batch)
    inverse = spec.regulariser.weighting == "inverse_idf"
    objective = Objective(encoder, spec, idf_vector(query_weights(start, idf)) if inverse else None)
    checkpoint = last_checkpoint(state)
    resumed = read_json(checkpoint / "trainer_state.json") if checkpoint else {"global_step": 0}
    metrics = state / "metrics.jsonl"
    truncate_records(metrics, step=resumed["global_step"])
    progress = Progress(label, spec.steps, unit="step")
    recorder = Recorder(objective, metrics, stream, log_steps=spec.log_steps, progress=progress)
    if checkpoint:
        recorder.restore(resumed)
    trainer = Trainer(
        schedule=schedule,
        model=encoder,
        args=training_arguments(spec, state=state, seed=seed, device=device),
        loss=objective,
        data_collator=collator,
        callbacks=[recorder, *([table] if table else [])],
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    detach_head(encoder)
    save_encoder(encoder.to("cpu"), out, table.weights() if table else weights)
    shutil.copy(metrics, out / "metrics.jsonl")
    return {
        "queries": len(data.rows),
        "resumed_at_step": resumed["global_step"],
        "last_active_tokens": objective.statistics["active_tokens"],
    }
