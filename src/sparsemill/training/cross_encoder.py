"""Train a small cross-encoder on judged pairs and mined candidates, to be a teacher."""

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState, PrinterCallback

from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.losses.infonce import infonce
from sparsemill.models.attention import use_lean_attention
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.products import use_fast_linear
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.progress import Progress
from sparsemill.study.models import CrossEncoderTraining
from sparsemill.teachers.dense import keep_layers
from sparsemill.training.checkpoints import last_checkpoint, mark_complete
from sparsemill.training.data import TrainingData, load_data
from sparsemill.training.guards import check_step
from sparsemill.training.metrics import Stream, last_record, truncate_records
from sparsemill.training.processes import on_one_gpu
from sparsemill.training.schedule import Record, Schedule
from sparsemill.training.system import system_metrics
from sparsemill.training.trainer import make_deterministic


def pair_loss(scores: torch.Tensor, *, loss: str) -> torch.Tensor:
    """Loss of rows of scores whose first column is the positive.

    Args:
        scores: [queries, documents].
        loss: binary: mean cross-entropy of every pair's label; listwise: -log softmax of the positive in its row.
    """
    if loss == "binary":
        labels = torch.zeros_like(scores)
        labels[:, 0] = 1
        return binary_cross_entropy_with_logits(scores, labels)
    first = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return infonce(scores, first, torch.zeros_like(scores, dtype=torch.bool), temperature=1.0)


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


class LossRecorder(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers is untyped
    """Writes the mean loss of every `log_steps` steps; checkpoints keep the span that is under way."""

    def __init__(self, path: Path, stream: Stream, *, log_steps: int, progress: Progress) -> None:
        self.path, self.stream, self.log_steps, self.progress = path, stream, log_steps, progress
        self.span: list[float] = []
        self.gradient_norm = self.rate = math.nan

    def state(self) -> dict[str, Any]:
        """What the trainer writes into `trainer_state.json` of a checkpoint."""
        return {"args": {}, "attributes": {"span": self.span}}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint's `trainer_state.json`."""
        self.span = checkpoint["stateful_callbacks"][type(self).__name__]["attributes"]["span"]
        self.progress.resume(checkpoint["global_step"])

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the step before it changes a parameter."""
        check_step({"loss": self.span[-1], "gradient_norm": self.gradient_norm}, state.global_step + 1)
        self.rate = kwargs["lr_scheduler"].get_last_lr()[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the step, and write a record at the end of a span."""
        step = state.global_step
        self.progress.advance(note=f"loss={self.span[-1]:.3f}")
        if step % self.log_steps == 0 or step == state.max_steps:
            loss = sum(self.span) / len(self.span)
            record = {"step": step, "time": time.time(), "loss": loss, "learning_rate": self.rate} | system_metrics()
            self.span = []
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, sort_keys=True) + "\n")
            self.stream(record)


class _Trainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """Reads records in the order of a schedule; checkpoints say when they are complete."""

    def __init__(self, *, schedule: Schedule, spec: CrossEncoderTraining, losses: LossRecorder, **options: Any) -> None:
        self.schedule, self.spec, self.losses = schedule, spec, losses
        super().__init__(callbacks=[losses], **options)
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        batch = self.spec.queries_per_step
        return DataLoader(self.schedule, batch_size=batch, collate_fn=self.data_collator, shuffle=False, drop_last=True)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        scores = model(**inputs).logits.float().view(-1, self.spec.documents_per_query)
        loss = pair_loss(scores, loss=self.spec.loss)
        self.losses.span.append(float(loss.detach()))
        return (loss, scores) if return_outputs else loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        self.losses.gradient_norm = float(norm)
        return norm

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        super()._save_checkpoint(*arguments, **options)
        mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


def _arguments(spec: CrossEncoderTraining, *, state: Path, device: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(state),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.queries_per_step,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        bf16=spec.precision == "bf16",
        seed=spec.seed,
        data_seed=spec.seed,
        use_cpu=device == "cpu",
        save_strategy="steps",
        save_steps=spec.checkpoint_steps,
        save_total_limit=2,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


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

    Returns:
        Facts: queries, step resumed from, last loss.

    Raises:
        UserError: too few queries, or a loss or gradient that is not finite.
    """
    make_deterministic(spec.seed)
    data = load_data(collection, candidates, cache=state / "texts")
    if len(data.rows) < spec.queries_per_step:
        raise UserError(
            f"training set {spec.training_set}: {len(data.rows)} queries are fewer than queries_per_step "
            f"({spec.queries_per_step})"
        )
    schedule = Schedule(
        data.positives,
        data.negatives,
        records=spec.steps * spec.queries_per_step,
        documents_per_query=spec.documents_per_query,
        seed=spec.seed,
    )
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
    trainer = _Trainer(
        schedule=schedule,
        spec=spec,
        losses=losses,
        model=model,
        args=on_one_gpu(_arguments(spec, state=state, device=device)),
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
