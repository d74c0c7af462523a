"""A teacher's scores, all in memory: written and read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.teachers.score import Scores, ScoreWriter


class Pairs(NamedTuple):
    """Columns of a (query, document) table, all of one length."""

    queries: list[str]
    documents: list[str]


def write_scores(path: Path, pairs: Pairs, scores: Scores) -> None:
    """Write `query_id, doc_id, score` as Parquet."""
    with ScoreWriter(path) as writer:
        writer.write(pa.array(pairs.queries, pa.string()), pa.array(pairs.documents, pa.string()), scores)


def read_scores(folders: Sequence[Path]) -> tuple[Pairs, Scores]:
    """Read and join the shards of a teacher's scores, all in memory."""
    table = pa.concat_tables(pq.read_table(folder / "scores.parquet") for folder in folders)
    pairs = Pairs(table["query_id"].to_pylist(), table["doc_id"].to_pylist())
    return pairs, table["score"].to_numpy().astype(np.float32)
