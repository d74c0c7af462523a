"""Normalised scores and targets of candidate lists, as files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import Scores, normalise
from sparsemill.errors import UserError
from sparsemill.teachers.score import Pairs, read_scores, write_scores


def query_spans(queries: Sequence[str]) -> Iterator[slice]:
    """The runs of equal query ids, in order."""
    start = 0
    for end in range(1, len(queries) + 1):
        if end == len(queries) or queries[end] != queries[start]:
            yield slice(start, end)
            start = end


def normalise_lists(pairs: Pairs, scores: Scores, *, method: str) -> Scores:
    """Normalise each query's candidate scores.

    Args:
        pairs: n pairs of ids, those of one query next to each other.
        scores: [n].
        method: see `sparsemill.ensemble.normalise`.
    """
    output = np.empty_like(scores)
    for span in query_spans(pairs.queries):
        output[span] = normalise(scores[span], method)
    return output


def write_normalised(folders: Sequence[Path], out: Path, *, method: str) -> int:
    """Read a teacher's score shards and write their normalised scores; returns the number of pairs."""
    pairs, scores = read_scores(folders)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise UserError(f"{folders[0]}: score of {pairs.queries[row]} and {pairs.documents[row]} is not finite")
    write_scores(out / "scores.parquet", pairs, normalise_lists(pairs, scores, method=method))
    return len(scores)


def write_targets(folders: Sequence[Path], out: Path, *, weights: Sequence[float] | None, scale: float) -> int:
    """Aggregate the normalised scores of several teachers into targets; returns the number of pairs.

    Raises:
        UserError: the teachers did not score the same pairs.
    """
    tables = [read_scores([folder]) for folder in folders]
    pairs = tables[0][0]
    for folder, (other, _) in zip(folders, tables, strict=True):
        if other != pairs:
            raise UserError(f"{folder}: scores other pairs than {folders[0]}; delete both and run again")
    targets = aggregate([scores for _, scores in tables], weights=weights, scale=scale)
    write_scores(out / "scores.parquet", pairs, targets)
    return len(targets)
