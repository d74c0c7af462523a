"""Tables of (query_id, doc_id) rows that must agree row by row, compared without holding their ids in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

BLOCK = 1 << 20
"""Rows in memory at once."""


def _blocks(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BLOCK, columns=["query_id", "doc_id"], use_threads=False)


def same_pairs(left: Sequence[Path], right: Sequence[Path]) -> bool:
    """Whether two tables hold the same pairs in the same order.

    Args:
        left: Parquet files, read one after the other.
        right: likewise; the rows may be spread over the files in another way.
    """
    counts = [sum(pq.read_metadata(path).num_rows for path in files) for files in (left, right)]
    if counts[0] != counts[1]:
        return False
    others = _blocks(right)
    rest = None
    for block in _blocks(left):
        while block.num_rows:
            rest = rest if rest is not None and rest.num_rows else next(others)
            rows = min(block.num_rows, rest.num_rows)
            if not block.slice(0, rows).equals(rest.slice(0, rows)):
                return False
            block, rest = block.slice(rows), rest.slice(rows)  # noqa: PLW2901
    return True


def query_offsets(file: Path) -> NDArray[np.int64]:
    """[queries + 1], the first row of each run of equal query ids, and the number of rows."""
    starts: list[NDArray[np.int64]] = []
    seen, last = 0, None
    for block in _blocks([file]):
        ids = block["query_id"].dictionary_encode()
        codes = ids.indices.to_numpy()
        changes = np.flatnonzero(np.diff(codes)) + 1
        first = ids[0].as_py() != last
        starts.append(seen + (np.concatenate(([0], changes)) if first else changes))
        seen, last = seen + len(codes), ids[len(codes) - 1].as_py()
    return np.concatenate([*starts, [seen]]).astype(np.int64)
