"""Trainings of the tiny model that kill their own process at a chosen moment, as `kill -9` would.

Run as a program: `killed.py INPUTS FOLDER`, with the folder of `write_inputs`. Every moment is a child process with the
folder FOLDER/moment.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from tiny import input_places

from sparsemill.models import encoder
from sparsemill.training import grad_cache, recipe, trainer
from sparsemill.training.objective import Objective

ACCUMULATED = {"accumulation": 2, "regulariser": {"lambda_d": 0}}
CACHED = {"grad_cache": 5, "in_batch": "documents"}


def kill(*_: Any, **__: Any) -> NoReturn:
    """The process ends here: no exception, no clean-up, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def inside_a_step() -> None:
    """In the fifth step, between the forward passes and the loss."""
    terms = Objective.terms
    Objective.terms = lambda self, *rest: kill() if self.step == 4 else terms(self, *rest)  # type: ignore[method-assign]


def between_micro_steps() -> None:
    """In the fifth step, after its first micro-batch was accumulated."""
    terms, calls = Objective.terms, []

    def counted(self: Objective, *rest: Any) -> Any:
        calls.extend([1] if self.step == 4 else [])
        return kill() if len(calls) == 2 else terms(self, *rest)

    Objective.terms = counted  # type: ignore[method-assign]


def inside_a_replay() -> None:
    """In the fifth step, with the generators set back for a mini-batch of GradCache."""
    calls: list[int] = []
    replayed = grad_cache._Randomness.replayed

    def counted(self: Any) -> Any:
        calls.append(1)
        return kill() if len(calls) > 4 * 4 + 1 else replayed(self)

    grad_cache._Randomness.replayed = counted  # type: ignore[method-assign]


def inside_a_checkpoint() -> None:
    """While the optimiser's state is written after step 6: half of the file is there."""
    save = torch.save

    def half(value: Any, path: Any, **options: Any) -> None:
        save(value, path, **options)
        if str(path).endswith("checkpoint-6/optimizer.pt"):
            os.truncate(path, Path(path).stat().st_size // 2)
            kill()

    torch.save = half


def before_the_marker() -> None:
    """After step 6, when all files of the checkpoint are there and it is not yet called complete."""
    mark = trainer.mark_complete
    trainer.mark_complete = lambda folder: kill() if folder.name.endswith("-6") else mark(folder)


def before_the_model_is_saved() -> None:
    """After the last step."""
    recipe.save_encoder = kill


def while_the_model_is_saved() -> None:
    """When the model is there and the query weights are not."""
    encoder.write_json = kill


MOMENTS: dict[str, tuple[Callable[[], None], dict[str, Any], int]] = {
    "inside a step": (inside_a_step, {}, 3),
    "between micro-steps": (between_micro_steps, ACCUMULATED, 3),
    "inside a replay": (inside_a_replay, CACHED, 3),
    "inside a checkpoint": (inside_a_checkpoint, {}, 3),
    "before the marker": (before_the_marker, {}, 3),
    "before the model is saved": (before_the_model_is_saved, {}, 8),
    "while the model is saved": (while_the_model_is_saved, {}, 8),
}
"""Moment -> how it comes about, the recipe's options, and the step at which the next run starts."""


def main(inputs: dict[str, Any], folder: Path) -> None:
    """Start one child per moment and see that each was killed."""
    from trained import run

    for name, (arrange, options, _) in MOMENTS.items():
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            arrange()
            run(inputs, folder / name, **options)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"{name}: was not killed")


if __name__ == "__main__":
    main(input_places(Path(sys.argv[1])), Path(sys.argv[2]))
