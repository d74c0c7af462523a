"""Normalised scores and targets of candidate lists, as files, a block of queries in memory at a time."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import Scores, normalise
from sparsemill.ensemble.rescale import rescale
from sparsemill.errors import UserError
from sparsemill.teachers.score import SCHEMA, ScoreWriter, read_score_blocks


def query_spans(queries: Any) -> Iterator[slice]:
    """The runs of equal query ids, in order; ids as an Arrow array or a sequence."""
    codes = pa.array(queries) if not isinstance(queries, pa.Array | pa.ChunkedArray) else queries
    if not len(codes):
        return
    changes = pc.not_equal(codes[1:], codes[:-1]).to_numpy(zero_copy_only=False)
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(codes)]
    yield from (slice(start, end) for start, end in pairwise(bounds))


def normalise_lists(queries: Any, scores: Scores, *, method: str) -> Scores:
    """Normalise each query's candidate scores.

    Args:
        queries: n ids, those of one query next to each other.
        scores: [n].
        method: see `sparsemill.ensemble.normalise`.
    """
    output = np.empty_like(scores)
    for span in query_spans(queries):
        output[span] = normalise(scores[span], method)
    return output


def _scores(table: pa.Table) -> Scores:
    return np.asarray(table["score"].to_numpy(), dtype=np.float32)


def write_normalised(folders: Sequence[Path], out: Path, *, method: str) -> int:
    """Read a teacher's score shards and write their normalised scores; returns the number of pairs."""
    count = 0
    with ScoreWriter(out / "scores.parquet") as writer:
        for table in read_score_blocks(folders):
            scores = _scores(table)
            if not np.isfinite(scores).all():
                row = int(np.flatnonzero(~np.isfinite(scores))[0])
                query, document = table["query_id"][row], table["doc_id"][row]
                raise UserError(f"{folders[0]}: score of {query} and {document} is not finite")
            queries = table["query_id"].combine_chunks()
            writer.write(queries, table["doc_id"].combine_chunks(), normalise_lists(queries, scores, method=method))
            count += len(scores)
    return count


def write_targets(
    folders: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None,
    scale: float,
    reference: Sequence[Path] = (),
) -> int:
    """Aggregate the normalised scores of several teachers into targets; returns the number of pairs.

    Args:
        folders: one per teacher.
        out: receives `scores.parquet`.
        weights, scale: see `aggregate`.
        reference: shards of the raw scores that the targets are rescaled to; none: as they are.

    Raises:
        UserError: the teachers did not score the same pairs.
    """
    others = [_Reader([folder]) for folder in folders[1:]] + ([_Reader(reference)] if reference else [])
    count = 0
    with ScoreWriter(out / "scores.parquet") as writer:
        for first in read_score_blocks(folders[:1]):
            tables = [first, *(reader.take(len(first)) for reader in others)]
            for reader, table in zip(others, tables[1:], strict=True):
                _check_pairs(folders[0], first, reader, table)
            targets = aggregate([_scores(table) for table in tables[: len(folders)]], weights=weights, scale=scale)
            queries = first["query_id"].combine_chunks()
            if reference:
                raw = _scores(tables[-1])
                for span in query_spans(queries):
                    targets[span] = rescale(targets[span], raw[span])
            writer.write(queries, first["doc_id"].combine_chunks(), targets)
            count += len(targets)
    for reader in others:
        _check_pairs(folders[0], SCHEMA.empty_table(), reader, reader.take(1))
    return count


class _Reader:
    """A teacher's scores, as many rows at a time as are asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folder = folders[0]
        self._blocks = read_score_blocks(folders)
        self._rest = SCHEMA.empty_table()

    def take(self, count: int) -> pa.Table:
        """The next rows, fewer at the end."""
        while len(self._rest) < count and (block := next(self._blocks, None)) is not None:
            self._rest = pa.concat_tables([self._rest, block])
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _check_pairs(folder: Path, first: pa.Table, reader: _Reader, table: pa.Table) -> None:
    if not table.select(["query_id", "doc_id"]).equals(first.select(["query_id", "doc_id"])):
        raise UserError(f"{reader.folder}: scores other pairs than {folder}; delete both and run again")
