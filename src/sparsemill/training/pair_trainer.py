"""The trainer of cross-encoders: order of the data, loss, guards, records and checkpoints."""

import json
import math
import time
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState, PrinterCallback

from sparsemill.losses.pairs import pair_loss
from sparsemill.progress import Progress
from sparsemill.study.models import CrossEncoderTraining
from sparsemill.training.arguments import shared_arguments
from sparsemill.training.checkpoints import mark_complete
from sparsemill.training.guards import check_step
from sparsemill.training.metrics import Stream
from sparsemill.training.schedule import Schedule
from sparsemill.training.system import system_metrics


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


class PairTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
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


def pair_arguments(spec: CrossEncoderTraining, *, state: Path, device: str) -> TrainingArguments:
    """The recipe as the trainer takes it."""
    return TrainingArguments(
        **shared_arguments(spec, state=state, seed=spec.seed, device=device),
        per_device_train_batch_size=spec.queries_per_step,
        remove_unused_columns=False,
    )
