"""The candidates of a training set as flat arrays: 5 bytes a row, and 4 more for its target."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsemill.errors import UserError
from sparsemill.teachers.score import check_together, indices

logger = logging.getLogger(__name__)

BLOCK = 1 << 23
"""Rows whose ids are in memory at once."""


@dataclass(frozen=True)
class CandidateTable:
    """Candidates of the training queries, query by query, in the order of the file.

    Attributes:
        file: where they were read.
        queries: [queries] int32, index of each training query in the collection.
        offsets: [queries + 1] int64, its first and past-the-last row.
        documents: [rows] int32, index in the collection.
        positive: [rows] bool.
        kept: [rows of the file] bool, which rows of the file these are.
        left_offsets: [queries + 1] int64, likewise, of `left_out`.
        left_out: int32, documents of its rows that are left out: unjudged, but taken for relevant.
    """

    file: Path
    queries: NDArray[np.int32]
    offsets: NDArray[np.int64]
    documents: NDArray[np.int32]
    positive: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    left_offsets: NDArray[np.int64]
    left_out: NDArray[np.int32]


Kind = Literal["positives", "negatives", "left_out"]


class Lists(Sequence[Sequence[int]]):
    """Positives, negatives or documents left out of each training query: a view of a table.

    Attributes:
        shift: added to every document, where the collection is one of several.
    """

    def __init__(self, table: CandidateTable, kind: Kind, *, shift: int = 0) -> None:
        self.table, self.kind, self.shift = table, kind, shift

    def __len__(self) -> int:
        return len(self.table.queries)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[item] for item in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return [document + self.shift for document in self._found(index).tolist()]

    def _found(self, index: int) -> NDArray[np.int32]:
        if self.kind == "left_out":
            return self.table.left_out[slice(*self.table.left_offsets[index : index + 2])]
        rows = slice(*self.table.offsets[index : index + 2])
        found: NDArray[np.int32] = self.table.documents[rows][self.table.positive[rows] == (self.kind == "positives")]
        return found


def _read_rows(
    file: Path, query_ids: pa.Array, document_ids: pa.Array
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]:
    queries, starts, documents, positive = [], [], [], []
    seen, last = 0, -1
    with pq.ParquetFile(file) as source:
        for batch in source.iter_batches(BLOCK, columns=["query_id", "doc_id", "positive"], use_threads=False):
            codes = indices(batch["query_id"], query_ids, source=file, kind="query")
            first = np.flatnonzero(np.diff(codes, prepend=np.int32(last)))
            queries.append(codes[first])
            starts.append(first + seen)
            documents.append(indices(batch["doc_id"], document_ids, source=file, kind="document"))
            positive.append(batch["positive"].to_numpy(zero_copy_only=False))
            seen, last = seen + len(codes), int(codes[-1])
    if not seen:
        raise UserError(f"{file}: holds no candidates")
    found = np.concatenate(queries)
    check_together(found, file)
    offsets = np.append(np.concatenate(starts), seen).astype(np.int64)
    return found, offsets, np.concatenate(documents), np.concatenate(positive)


def read_table(
    candidates: Path,
    *,
    query_ids: pa.Array,
    document_ids: pa.Array,
    negatives: bool,
    dropped: NDArray[np.bool_] | None = None,
) -> CandidateTable:
    """Read `candidates.parquet`, some million rows at a time.

    Args:
        candidates: its folder.
        query_ids, document_ids: of the collection, in its order.
        negatives: leave out, with a warning, queries that have nothing but positives.
        dropped: [rows of the file] bool, rows to leave out; None: no row.

    Raises:
        UserError: an id that the collection does not have, or rows out of order.
    """
    file = candidates / "candidates.parquet"
    queries, offsets, documents, positive = _read_rows(file, query_ids, document_ids)
    kept = np.ones(len(documents), dtype=bool) if dropped is None else ~dropped
    if len(kept) != len(documents):
        raise UserError(f"{file}: {len(documents)} rows, but {len(kept)} are marked; delete the marks and run again")
    none = np.zeros_like(offsets), np.empty(0, dtype=np.int32)
    table = CandidateTable(file, queries, offsets, documents, positive, kept, *none)
    bare = ~np.logical_or.reduceat(kept & ~positive, offsets[:-1])
    if negatives and bare.any():
        logger.warning("%s: %d of %d queries have no negatives and are left out", candidates, bare.sum(), len(bare))
    return _cut(table, bare if negatives else np.zeros_like(bare))


def _cut(table: CandidateTable, bare: NDArray[np.bool_]) -> CandidateTable:
    """Leave out the rows that are not kept, and bare queries with all of theirs."""
    whole = ~np.repeat(bare, np.diff(table.offsets))
    kept, left = table.kept & whole, ~table.kept & whole
    if kept.all():
        return table

    def offsets(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        sizes = np.add.reduceat(rows, table.offsets[:-1], dtype=np.int64)[~bare]
        return np.concatenate(([0], np.cumsum(sizes)))

    return CandidateTable(
        table.file,
        table.queries[~bare],
        offsets(kept),
        table.documents[kept],
        table.positive[kept],
        kept,
        offsets(left),
        table.documents[left],
    )
