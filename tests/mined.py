"""Candidates, all in memory: read."""

from pathlib import Path

import pyarrow.parquet as pq

from sparsemill.data.candidates import Candidate


def read_candidates(folder: Path) -> dict[str, list[Candidate]]:
    """Read what `write_candidates` wrote: query id -> candidates, both in the order of the file."""
    mined: dict[str, list[Candidate]] = {}
    with pq.ParquetFile(folder / "candidates.parquet") as file:
        for batch in file.iter_batches(use_threads=False):
            for query, *values, ranks in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                mined.setdefault(query, []).append(Candidate(*values)._replace(ranks=tuple(ranks)))
    return mined
