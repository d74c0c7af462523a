"""The record of a training run: `metrics.jsonl`, progress lines and the live stream, from one callback."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.training.objective import Objective

Stream = Callable[[dict[str, float]], None]


def truncate_records(path: Path, *, step: int) -> None:
    """Drop the records after `step`: those of a run that was killed after its last checkpoint."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


class Recorder(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers is untyped
    """Averages the objective's statistics over `log_steps` and writes one record for each such span.

    Checkpoints keep the span that is under way, so that a resumed run writes the records of an uninterrupted one.
    """

    def __init__(self, objective: Objective, path: Path, stream: Stream, *, log_steps: int, progress: Progress) -> None:
        self.objective, self.path, self.stream = objective, path, stream
        self.log_steps, self.progress = log_steps, progress
        self.span: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        """What the trainer writes into `trainer_state.json` of a checkpoint."""
        return {"args": {}, "attributes": {"span": self.span}}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint's `trainer_state.json`."""
        self.span = checkpoint["stateful_callbacks"][type(self).__name__]["attributes"]["span"]
        self.progress.resume(checkpoint["global_step"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the objective the global step, so that schedules survive a resume."""
        self.objective.step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the step, count it, and write a record at the end of a span."""
        statistics = self.objective.statistics
        self._check(statistics, state.global_step)
        self.span.append(statistics)
        note = f"loss={statistics['loss']:.3f}, active={statistics['active_tokens']:.0f}"
        self.progress.advance(note=note)
        if state.global_step % self.log_steps == 0 or state.global_step == state.max_steps:
            rate = kwargs["lr_scheduler"].get_last_lr()[0]
            self._write(state.global_step, rate)

    def _check(self, statistics: dict[str, float], step: int) -> None:
        if not math.isfinite(statistics["loss"]):
            raise UserError(f"step {step}: the loss is not finite; lower learning_rate or use precision: fp32")
        if statistics["active_tokens"] == 0:
            raise UserError(
                f"step {step}: every document vector is zero; lower regulariser.lambda_d, or raise its warmup_steps"
            )

    def _write(self, step: int, rate: float) -> None:
        record = {name: sum(row[name] for row in self.span) / len(self.span) for name in self.span[0]}
        record |= {"step": step, "time": time.time(), "learning_rate": rate}
        self.span = []
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")
        self.stream(record)
