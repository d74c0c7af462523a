"""The record of a training run: `metrics.jsonl`, progress lines and the live stream, from one callback."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from sparsemill.files import write_text
from sparsemill.progress import Progress
from sparsemill.training import processes
from sparsemill.training.guards import DenseGuard, check_step
from sparsemill.training.objective import Objective
from sparsemill.training.system import system_metrics

Stream = Callable[[dict[str, float]], None]


def truncate_records(path: Path, *, step: int) -> None:
    """Drop the records after `step`: those of a run that was killed after its last checkpoint."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_text(path, kept)


def last_record(path: Path) -> dict[str, float]:
    """The record of the last step; also where that was in an earlier process, which was killed before it saved."""
    record: dict[str, float] = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    return record


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of each name over the rows that have it."""
    values = {name: [row[name] for row in rows if name in row] for name in {**rows[0], **rows[-1]}}
    return {name: sum(found) / len(found) for name, found in values.items()}


class Recorder(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers is untyped
    """Checks every step, averages the objective's statistics over `log_steps` and writes one record for each such span.

    Only the first of several processes writes. Checkpoints keep the span that is under way, so that a resumed run
    writes the records of an uninterrupted one.
    """

    def __init__(
        self, objective: Objective, path: Path, stream: Stream, *, guard: DenseGuard, log_steps: int, progress: Progress
    ) -> None:
        self.objective, self.path, self.stream = objective, path, stream
        self.guard, self.log_steps, self.progress = guard, log_steps, progress
        self.span: list[dict[str, float]] = []
        self._parts: list[dict[str, float]] = []
        self._rate = 0.0

    def state(self) -> dict[str, Any]:
        """What the trainer writes into `trainer_state.json` of a checkpoint."""
        return {"args": {}, "attributes": {"span": self.span, "guard": self.guard.state()}}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint's `trainer_state.json`."""
        attributes = checkpoint["stateful_callbacks"][type(self).__name__]["attributes"]
        self.span = attributes["span"]
        self.guard.restore(attributes["guard"])
        self.progress.resume(checkpoint["global_step"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the objective the global step, so that schedules survive a resume."""
        self.objective.step = state.global_step

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the statistics of a micro-batch."""
        self._parts.append(self.objective.statistics)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the step before it changes a parameter."""
        statistics = _mean([*self._parts, self.objective.statistics])
        self._parts = []
        if self.objective.gradient_norm is not None:
            statistics["gradient_norm"] = self.objective.gradient_norm
        check_step(statistics, state.global_step + 1)
        self.span.append(statistics)
        self._rate = kwargs["lr_scheduler"].get_last_lr()[0]  # of this step; after it, that of the next

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the step, and write a record at the end of a span."""
        statistics = self.span[-1]
        self.guard.check(statistics["active_tokens"], state.global_step)
        if processes.number() == 0:
            note = f"loss={statistics['loss']:.3f}, active={statistics['active_tokens']:.0f}"
            self.progress.advance(note=note)
        if state.global_step % self.log_steps == 0 or state.global_step == state.max_steps:
            self._write(state.global_step)

    def _write(self, step: int) -> None:
        record = _mean(self.span)
        record |= {"step": step, "time": time.time(), "learning_rate": self._rate} | system_metrics()
        self.span = []
        if processes.number() > 0:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")
        self.stream(record)
