"""Where a training keeps its state, so that a killed one goes on."""

from pathlib import Path

COMPLETE = "complete"
"""Marker that is written last; a checkpoint without it was being written when its process was killed."""


def mark_complete(checkpoint: Path) -> None:
    """Say that every file of a checkpoint is there."""
    (checkpoint / COMPLETE).touch()


def last_checkpoint(state: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    found = [marker.parent for marker in state.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda folder: int(folder.name.removeprefix("checkpoint-")), default=None)
