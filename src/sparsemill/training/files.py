"""Where the inputs of a training run lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SetFiles:
    """Folders of one training set.

    Attributes:
        collection: its texts.
        candidates: the candidate lists of its training queries.
        targets: aggregated scores, for candidate rows.
        embeddings: shard folders of each teacher, for in-batch rows.
        false_negatives: marks of candidates that are left out.
        weight: how often a step is drawn from this set, beside the other sets' weights.
    """

    collection: Path
    candidates: Path
    targets: Path | None = None
    embeddings: Sequence[Sequence[Path]] = ()
    false_negatives: Path | None = None
    weight: float = 1.0
