"""One training run from start to saved model; pre-training and fine-tuning differ only in their inputs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sparsemill.files import read_json
from sparsemill.models.encoder import query_weights, save_encoder
from sparsemill.models.head import attach_head, detach_head
from sparsemill.progress import Progress
from sparsemill.study.models import Ensemble, Training
from sparsemill.training import processes
from sparsemill.training.checkpoints import last_checkpoint
from sparsemill.training.collator import Collator
from sparsemill.training.files import SetFiles
from sparsemill.training.guards import DenseGuard
from sparsemill.training.loading import load_sets
from sparsemill.training.metrics import Recorder, Stream, last_record, truncate_records
from sparsemill.training.objective import Objective
from sparsemill.training.speed import spare
from sparsemill.training.start import QueryTable, build_start, start_weights
from sparsemill.training.trainer import Trainer, make_deterministic, training_arguments, warn_of_devices


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
    trust_remote_code: bool = False,
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
        trust_remote_code: run the code that lies in the folders that training starts from.

    Returns:
        Facts: processes, queries, step resumed from, active tokens of the last record; of the first process only.

    Raises:
        UserError: too few queries, collapsed or diverged training.
    """
    make_deterministic(seed)
    warn_of_devices(spec)
    data, targets, schedule = load_sets(spec, sets, ensemble=ensemble, cache=state / "texts", seed=seed)
    weights = start_weights(spec, start, idf)
    encoder = build_start(spec, start, weights, query_start=query_start, trust_remote_code=trust_remote_code)
    table = QueryTable(encoder) if spec.query_side == "learned" else None
    attach_head(encoder, kind=head, device=device)
    collator = Collator(data, targets, encoder.preprocess, in_batch=spec.in_batch, gather=spec.gather)
    inverse = spec.regulariser.weighting == "inverse_idf"
    objective = Objective(encoder, spec, idf_vector(query_weights(start, idf)) if inverse else None)
    checkpoint = last_checkpoint(state)
    resumed = read_json(checkpoint / "trainer_state.json") if checkpoint else {"global_step": 0}
    metrics = state / "metrics.jsonl"
    with processes.first_goes_first():
        truncate_records(metrics, step=resumed["global_step"])
    progress = Progress(label, spec.steps, unit="step")
    guard = DenseGuard(
        encoder.get_embedding_dimension(), spec.regulariser.warmup_steps if spec.regulariser.lambda_d else None
    )
    recorder = Recorder(objective, metrics, stream, guard=guard, log_steps=spec.log_steps, progress=progress)
    if checkpoint:
        recorder.restore(resumed)
    trainer = Trainer(
        schedule=schedule,
        grad_cache=spec.grad_cache,
        model=encoder,
        args=processes.on_one_gpu(training_arguments(spec, state=state, seed=seed, device=device)),
        loss=objective,
        data_collator=collator,
        callbacks=[recorder, *([table] if table else [])],
    )
    if processes.number() > 0:
        torch.manual_seed(seed + processes.number())  # other documents, other dropout
    spare(encoder, spec)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    detach_head(encoder)
    if processes.number() > 0:
        return {}
    save_encoder(encoder.to("cpu"), out, table.weights() if table else weights)
    shutil.copy(metrics, out / "metrics.jsonl")
    return {
        "processes": processes.count(),
        "queries": len(data.rows),
        "resumed_at_step": resumed["global_step"],
        "last_active_tokens": last_record(metrics)["active_tokens"],
    }
