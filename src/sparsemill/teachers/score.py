"""Score candidates with a teacher, one shard of the queries at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsemill.teachers.cache import EmbeddingCache

BLOCK = 65_536
"""Pairs scored at once; bounds the memory."""


class Pairs(NamedTuple):
    """Columns of a (query, document) table, all of one length."""

    queries: list[str]
    documents: list[str]


def shard_bounds(count: int, *, shard: int, shards: int) -> tuple[int, int]:
    """First and past-the-last item of a shard; shards differ by at most one item and cover everything in order."""
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards}")
    return count * shard // shards, count * (shard + 1) // shards


def read_pairs(candidates: Path, *, shard: int, shards: int) -> Pairs:
    """The candidates of one shard of the queries, in file order (whole queries only)."""
    table = pq.read_table(candidates / "candidates.parquet", columns=["query_id", "doc_id"])
    queries = table["query_id"].to_pylist()
    distinct = list(dict.fromkeys(queries))
    start, end = shard_bounds(len(distinct), shard=shard, shards=shards)
    wanted = set(distinct[start:end])
    documents = table["doc_id"].to_pylist()
    kept = [(query, document) for query, document in zip(queries, documents, strict=True) if query in wanted]
    return Pairs([query for query, _ in kept], [document for _, document in kept])


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def score_pairs(
    pairs: Pairs, cache: EmbeddingCache, *, query_ids: Sequence[str], document_ids: Sequence[str]
) -> NDArray[np.float32]:
    """Scores of pairs by cached embeddings.

    Args:
        pairs: n pairs of ids.
        cache: embeddings in the order of `query_ids` and `document_ids`.

    Returns:
        [n], float32.
    """
    query_rows = {identifier: row for row, identifier in enumerate(query_ids)}
    document_rows = {identifier: row for row, identifier in enumerate(document_ids)}
    scores = np.empty(len(pairs.queries), dtype=np.float32)
    for block in _blocks(len(scores)):
        rows = [query_rows[identifier] for identifier in pairs.queries[block]]
        columns = [document_rows[identifier] for identifier in pairs.documents[block]]
        scores[block] = cache.pairs(rows, columns)
    return scores


def write_scores(path: Path, pairs: Pairs, scores: NDArray[np.float32]) -> None:
    """Write `query_id, doc_id, score` as Parquet."""
    columns = {"query_id": pairs.queries, "doc_id": pairs.documents, "score": pa.array(scores, pa.float32())}
    pq.write_table(pa.table(columns), path)


def read_scores(folders: Sequence[Path]) -> tuple[Pairs, NDArray[np.float32]]:
    """Read and join the shards of a teacher's scores."""
    table = pa.concat_tables(pq.read_table(folder / "scores.parquet") for folder in folders)
    pairs = Pairs(table["query_id"].to_pylist(), table["doc_id"].to_pylist())
    return pairs, table["score"].to_numpy().astype(np.float32)
