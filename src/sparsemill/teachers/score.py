"""Score candidates with a teacher: one shard of the queries, some million pairs in memory at a time, as numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsemill.errors import UserError

ROW_GROUP = 1 << 20
"""Pairs read, and written, at once."""
SCHEMA = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("score", pa.float32())])
Scores = NDArray[np.float32]
Indices = NDArray[np.int32]


class Candidates(NamedTuple):
    """The pairs of a shard, by index in the collection; those of one query next to each other."""

    queries: Indices
    documents: Indices


class Scorer(Protocol):
    """A teacher, whatever its kind: scores of (query, document) pairs."""

    def score(self, queries: Indices, documents: Indices) -> Scores:
        """[pairs], from two arrays of indices in the collection, of one length."""
        ...


class EmbeddingScorer:
    """A siamese teacher, by its cached embeddings."""

    BLOCK = 65_536
    """Pairs whose embeddings are in memory at once."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def score(self, queries: Indices, documents: Indices) -> Scores:
        """[pairs]: dot products of the rows."""
        scores = np.empty(len(queries), dtype=np.float32)
        for start in range(0, len(scores), self.BLOCK):
            part = slice(start, start + self.BLOCK)
            scores[part] = self.cache.pairs(queries[part], documents[part])
        return scores


def shard_bounds(count: int, *, shard: int, shards: int) -> tuple[int, int]:
    """First and past-the-last item of a shard; shards differ by at most one item and cover everything in order."""
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards}")
    return count * shard // shards, count * (shard + 1) // shards


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as source:
        yield from source.iter_batches(ROW_GROUP, columns=list(columns), use_threads=False)


def indices(values: Any, ids: pa.Array, *, source: object, kind: str) -> Indices:
    """Position of each value in `ids`.

    Raises:
        UserError: a value is not there.
    """
    found = pc.index_in(values, value_set=ids)
    if found.null_count:
        unknown = values.filter(pc.is_null(found))[0].as_py()
        raise UserError(f"{source}: {kind} {unknown!r} is not in the collection; delete it and run its stage again")
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int32)


def check_together(queries: Indices, file: Path) -> None:
    """Raise a UserError where two runs of rows, whose queries are given in order, are of one query."""
    if len(np.unique(queries)) < len(queries):
        raise UserError(f"{file}: the rows of a query are apart; delete it and run its stage again")


def read_candidates(
    folder: Path, *, shard: int, shards: int, query_ids: Sequence[str], document_ids: Sequence[str]
) -> Candidates:
    """The candidates of one shard of the queries, in file order, whole queries only.

    Args:
        folder: holds `candidates.parquet`, the rows of each query next to each other.
        shard, shards: which part.
        query_ids, document_ids: of the collection, in its order.

    Raises:
        UserError: an id is not in the collection, or the rows of a query are apart.
    """
    file, known, documents = folder / "candidates.parquet", pa.array(query_ids), pa.array(document_ids)
    queries = np.concatenate(
        [indices(batch["query_id"], known, source=file, kind="query") for batch in _batches(file, ["query_id"])]
        or [np.empty(0, np.int32)]
    )
    starts = np.flatnonzero(np.diff(queries, prepend=np.int32(-1)))
    check_together(queries[starts], file)
    edges = np.append(starts, len(queries))
    low, high = (int(edges[bound]) for bound in shard_bounds(len(starts), shard=shard, shards=shards))
    found, seen = [np.empty(0, np.int32)], 0
    for batch in _batches(file, ["doc_id"]):
        part = batch["doc_id"][max(low - seen, 0) : max(high - seen, 0)]
        if len(part):  # a look-up reads all ids of the collection first, whatever it looks for
            found.append(indices(part, documents, source=file, kind="document"))
        seen += len(batch)
    return Candidates(queries[low:high], np.concatenate(found))


class ScoreWriter:
    """Writes `query_id, doc_id, score` as Parquet, in full row groups whatever the parts that come in."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA)
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> "ScoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush(0)
        self._writer.close()

    def write(self, queries: Any, documents: Any, scores: Scores) -> None:
        """Append pairs: two Arrow arrays or lists of ids, and their scores."""
        columns = [queries, documents, pa.array(scores, pa.float32())]
        self._waiting.append(pa.Table.from_arrays([pa.chunked_array([column]) for column in columns], schema=SCHEMA))
        self._flush(ROW_GROUP)

    def _flush(self, least: int) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else SCHEMA.empty_table()
        while len(table) > 0 and len(table) >= least:
            self._writer.write_table(table[:ROW_GROUP].combine_chunks(), row_group_size=ROW_GROUP)
            table = table[ROW_GROUP:]
        self._waiting = [table]


def score_candidates(
    pairs: Candidates,
    scorer: Scorer,
    path: Path,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    block: int = ROW_GROUP,
    kept: Callable[[str, Callable[[], Scores]], Any] | None = None,
) -> None:
    """Score pairs block by block and write them in their order.

    Args:
        pairs: of a shard.
        scorer: the teacher.
        path: of the Parquet file.
        query_ids, document_ids: of the collection, in its order.
        block: pairs given to the scorer at once.
        kept: keeps the scores of a block under a name for a resumed run, or finds those of an earlier one.

    Raises:
        UserError: a score is not finite.
    """
    queries, documents = pa.array(query_ids), pa.array(document_ids)
    with ScoreWriter(path) as writer:
        for number, start in enumerate(range(0, len(pairs.queries), block)):
            rows, columns = pairs.queries[start : start + block], pairs.documents[start : start + block]

            def compute(rows: Indices = rows, columns: Indices = columns) -> Scores:
                return scorer.score(rows, columns)

            scores = compute() if kept is None else np.asarray(kept(f"scores-{number:06d}", compute))
            if not np.isfinite(scores).all():
                place = int(np.flatnonzero(~np.isfinite(scores))[0])
                pair = f"{query_ids[rows[place]]} and {document_ids[columns[place]]}"
                raise UserError(
                    f"{path}: score of {pair} is {scores[place]}; check the teacher, or use precision: fp32"
                )
            writer.write(queries.take(pa.array(rows)), documents.take(pa.array(columns)), scores)


def read_score_blocks(folders: Sequence[Path]) -> Iterator[pa.Table]:
    """The shards of a teacher's scores in blocks of whole queries, some million pairs at most where queries allow."""
    rest = SCHEMA.empty_table()
    for folder in folders:
        for batch in _batches(folder / "scores.parquet", SCHEMA.names):
            table = pa.concat_tables([rest, pa.Table.from_batches([batch], schema=SCHEMA)]).combine_chunks()
            last = table["query_id"][-1]
            # the last query may go on in the next batch
            whole = pc.index(table["query_id"], last).as_py()
            if whole:
                yield table[:whole]
            rest = table[whole:]
    if len(rest):
        yield rest
