"""Candidates of a training set: what a miner finds for each query, filtered, with the judged positives."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.data.collection import Qrel
from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit

SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("positive", pa.bool_()),
    ]
)
_ROW_GROUP = 1 << 16


class Candidate(NamedTuple):
    """A document that a query is trained with.

    Attributes:
        doc_id: the document.
        rank: the miner's rank, from 1; 0 for a positive that the miner did not return.
        score: the miner's score; None where the rank is 0.
        positive: whether the document is judged relevant.
    """

    doc_id: str
    rank: int
    score: float | None
    positive: bool


def positives(qrels: Iterable[Qrel]) -> dict[str, set[str]]:
    """Query id -> documents judged above 0; queries without one are left out."""
    found: dict[str, set[str]] = {}
    for qrel in qrels:
        if qrel.relevance > 0:
            found.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    return found


def consistent_queries(
    run: Mapping[str, Sequence[Hit]], relevant: Mapping[str, Collection[str]], *, first: int | None
) -> list[str]:
    """Consistency filter: the queries for which the miner has a positive among its first `first` hits.

    Args:
        run: the miner's hits by query, best first; a query without hits may be absent.
        relevant: positives by query, as `positives` gives them.
        first: depth of the filter; None keeps every query.

    Raises:
        UserError: no query is left.
    """
    if first is None:
        return list(relevant)
    kept = [query for query, ids in relevant.items() if any(hit.doc_id in ids for hit in run.get(query, ())[:first])]
    if not kept:
        raise UserError(
            f"none of {len(relevant)} queries with a positive has one in the miner's top {first}; "
            "check that the run belongs to this split, or raise filter_top"
        )
    return kept


def choose_queries(query_ids: Iterable[str], *, most: int | None, seed: int) -> set[str]:
    """At most `most` of the queries: the first in the order of the hash of seed and id. None: all of them."""

    def order(query_id: str) -> bytes:
        return hashlib.sha256(f"{seed}:{query_id}".encode()).digest()

    return set(sorted(query_ids, key=order)[:most])


def candidates(hits: Sequence[Hit], relevant: Collection[str], *, top: int) -> list[Candidate]:
    """The miner's first `top` documents, and every positive.

    Args:
        hits: best first.
        relevant: the query's positives.
        top: how many hits are kept; positives further down keep their rank and come after them.

    Returns:
        In order of rank; positives that were not found come first, with rank 0, in order of their ids.
    """
    missing = sorted(set(relevant) - {hit.doc_id for hit in hits})
    absent = [Candidate(doc_id, 0, None, True) for doc_id in missing]
    found = [Candidate(hit.doc_id, rank, hit.score, hit.doc_id in relevant) for rank, hit in enumerate(hits, start=1)]
    return absent + found[:top] + [candidate for candidate in found[top:] if candidate.positive]


def write_candidates(folder: Path, mined: Mapping[str, Sequence[Candidate]]) -> None:
    """Write `candidates.parquet` (query_id, doc_id, rank, score, positive), in the order given."""
    with pq.ParquetWriter(folder / "candidates.parquet", SCHEMA, compression="zstd") as writer:
        rows = [(query, *candidate) for query, found in mined.items() for candidate in found]
        columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
        writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=_ROW_GROUP)


def read_candidates(folder: Path) -> dict[str, list[Candidate]]:
    """Read what `write_candidates` wrote: query id -> candidates, both in the order of the file.

    Raises:
        UserError: there is no such file.
    """
    path = folder / "candidates.parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file; mine the training set's candidates first")
    mined: dict[str, list[Candidate]] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(use_threads=False):
            for query, *values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                mined.setdefault(query, []).append(Candidate(*values))
    return mined
