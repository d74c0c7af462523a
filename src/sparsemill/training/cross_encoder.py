"""Train a small cross-encoder on judged pairs and mined candidates, to be a teacher."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sparsemill.files import read_json
from sparsemill.models.attention import use_lean_attention
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.products import use_fast_linear
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.progress import Progress
from sparsemill.study.models import CrossEncoderTraining
from sparsemill.teachers.dense import keep_layers
from sparsemill.training.checkpoints import last_checkpoint
from sparsemill.training.data import TrainingData, load_data
from sparsemill.training.loading import schedule_of
from sparsemill.training.metrics import Stream, last_record, truncate_records
from sparsemill.training.pair_trainer import LossRecorder, PairTrainer, pair_arguments
from sparsemill.training.processes import on_one_gpu
from sparsemill.training.schedule import Record
from sparsemill.training.trainer import make_deterministic


def _start(spec: CrossEncoderTraining) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    folder = model_folder(spec.weights)
    code = code_options(spec.weights, folder)
    with loading(folder, "text encoder"):
        config = AutoConfig.from_pretrained(folder, num_labels=1, **code)
        keep_layers(config, spec.layers, folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32, **code)
        tokenizer = AutoTokenizer.from_pretrained(folder, **code)
    refill_buffers(model)
    return model, tokenizer


def _collate(data: TrainingData, tokenizer: Any, *, max_length: int) -> Callable[[Sequence[Record]], dict[str, Any]]:
    def collate(records: Sequence[Record]) -> dict[str, Any]:
        pairs = [
            (data.queries[int(data.rows[record.query])], data.documents[document])
            for record in records
            for document in record.documents
        ]
        queries, documents = ([pair[side] for pair in pairs] for side in (0, 1))
        found: dict[str, Any] = tokenizer(
            queries, documents, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        return dict(found)

    return collate


def train_cross_encoder(
    spec: CrossEncoderTraining,
    *,
    collection: Path,
    candidates: Path,
    out: Path,
    state: Path,
    device: str,
    label: str,
    stream: Stream,
    false_negatives: Path | None = None,
) -> dict[str, Any]:
    """Train a cross-encoder and save it in the hub's format.

    Args:
        spec: the recipe.
        collection, candidates: texts, and the candidate lists of the training queries.
        out: receives `model/` and `metrics.jsonl`.
        state: folder of checkpoints; a run that was stopped goes on from the last one.
        device: `cpu` or `cuda`.
        label: of progress lines.
        stream: gets every metric record as it is written.
        false_negatives: marks of candidates that are left out.

    Returns:
        Facts: queries, step resumed from, last loss.

    Raises:
        UserError: too few queries, or a loss or gradient that is not finite.
    """
    make_deterministic(spec.seed)
    data = load_data(collection, candidates, false_negatives=false_negatives, cache=state / "texts")
    schedule = schedule_of(spec, data, seed=spec.seed)
    model, tokenizer = _start(spec)
    use_fast_linear(model, fast=device == "cpu")
    use_lean_attention(model, lean=device == "cpu")
    checkpoint = last_checkpoint(state)
    resumed = read_json(checkpoint / "trainer_state.json") if checkpoint else {"global_step": 0}
    metrics = state / "metrics.jsonl"
    truncate_records(metrics, step=resumed["global_step"])
    progress = Progress(label, spec.steps, unit="step")
    losses = LossRecorder(metrics, stream, log_steps=spec.log_steps, progress=progress)
    if checkpoint:
        losses.restore(resumed)
    trainer = PairTrainer(
        schedule=schedule,
        spec=spec,
        losses=losses,
        model=model,
        args=on_one_gpu(pair_arguments(spec, state=state, device=device)),
        data_collator=_collate(data, tokenizer, max_length=spec.max_length),
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.to("cpu").save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    shutil.copy(metrics, out / "metrics.jsonl")
    return {
        "queries": len(data.rows),
        "resumed_at_step": resumed["global_step"],
        "last_loss": last_record(metrics)["loss"],
    }
