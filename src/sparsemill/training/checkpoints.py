"""Where a training keeps its state, so that a killed one goes on."""

import shutil
from pathlib import Path
from typing import Any

from sparsemill.files import canonical_json, text_hash

COMPLETE = "complete"
"""Marker that is written last; a checkpoint without it was being written when its process was killed."""


def state_folder(root: Path, identity: dict[str, Any]) -> Path:
    """Where checkpoints of this spec and these inputs live; others are removed, so that a changed run starts anew."""
    folder = root / text_hash(canonical_json(identity))
    for other in root.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mark_complete(checkpoint: Path) -> None:
    """Say that every file of a checkpoint is there."""
    (checkpoint / COMPLETE).touch()


def last_checkpoint(state: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    found = [marker.parent for marker in state.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda folder: int(folder.name.removeprefix("checkpoint-")), default=None)
