"""Candidates of a training set: what a miner finds for each query, filtered, with the judged positives."""

import hashlib
import logging
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.data.collection import Qrel
from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("positive", pa.bool_()),
        ("ranks", pa.list_(pa.int32())),
    ]
)
_ROW_GROUP = 1 << 16


class Candidate(NamedTuple):
    """A document that a query is trained with.

    Attributes:
        doc_id: the document.
        rank: the best rank that a miner gave it, from 1; 0 for a positive that no miner returned.
        score: that miner's score; None where the rank is 0.
        positive: whether the document is judged relevant.
        ranks: of several miners, each one's rank, 0 where it did not return the document; empty for one miner.
    """

    doc_id: str
    rank: int
    score: float | None
    positive: bool
    ranks: tuple[int, ...] = ()


Run = Mapping[str, Sequence[Hit]]
"""A miner's hits by query, best first; a query without hits may be absent."""


def positives(qrels: Iterable[Qrel]) -> dict[str, set[str]]:
    """Query id -> documents judged above 0; queries without one are left out."""
    found: dict[str, set[str]] = {}
    for qrel in qrels:
        if qrel.relevance > 0:
            found.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    return found


def listed_positives(run: Run, relevant: Mapping[str, Collection[str]]) -> tuple[dict[str, set[str]], int]:
    """Positives that a run has: no other document of its queries has a score.

    Args:
        run: hits of each query.
        relevant: positives by query.

    Returns:
        Positives by query, without the queries that have none left, and how many positives are left out.

    Raises:
        UserError: no query is left.
    """
    found = {query: {hit.doc_id for hit in run.get(query, ())}.intersection(ids) for query, ids in relevant.items()}
    left = sum(map(len, relevant.values())) - sum(map(len, found.values()))
    if left:
        logger.warning("%d judged positives have no score and are left out", left)
    if not any(found.values()):
        raise UserError(f"none of {len(relevant)} queries has a positive with a score; check the ids of the score file")
    return {query: ids for query, ids in found.items() if ids}, left


def consistent_queries(runs: Sequence[Run], relevant: Mapping[str, Collection[str]], *, first: int | None) -> list[str]:
    """Consistency filter: the queries for which some miner has a positive among its first `first` hits.

    Args:
        runs: of each miner.
        relevant: positives by query, as `positives` gives them.
        first: depth of the filter; None keeps every query.

    Raises:
        UserError: no query is left.
    """
    if first is None:
        return list(relevant)

    def found(query: str, ids: Collection[str]) -> bool:
        return any(hit.doc_id in ids for run in runs for hit in run.get(query, ())[:first])

    kept = [query for query, ids in relevant.items() if found(query, ids)]
    if not kept:
        raise UserError(
            f"none of {len(relevant)} queries with a positive has one in a miner's top {first}; "
            "check that the run belongs to this split, or raise filter_top"
        )
    return kept


def choose_queries(query_ids: Iterable[str], *, most: int | None, seed: int) -> set[str]:
    """At most `most` of the queries: the first in the order of the hash of seed and id. None: all of them."""

    def order(query_id: str) -> bytes:
        return hashlib.sha256(f"{seed}:{query_id}".encode()).digest()

    return set(sorted(query_ids, key=order)[:most])


def draw_windows(
    hits: Sequence[Hit], relevant: Collection[str], *, windows: Iterable[tuple[int, int]], query_id: str, seed: int
) -> set[int]:
    """Sampling windows (SPLADE-v3: half of the negatives from the top 50, half from the top 1,000).

    Args:
        hits: of one miner, best first.
        relevant: the query's positives, which are not drawn.
        windows: pairs (top, keep); `keep` of the first `top` hits are drawn that no earlier window has drawn, all of
            them where there are fewer.
        query_id: the draw depends on it and the seed alone.
        seed: see above.

    Returns:
        Places of the hits drawn, from 0.
    """
    digest = hashlib.sha256(f"{seed}:{query_id}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    drawn: set[int] = set()
    for top, keep in windows:
        pool = [place for place, hit in enumerate(hits[:top]) if place not in drawn and hit.doc_id not in relevant]
        drawn.update(pool if len(pool) <= keep else generator.choice(pool, size=keep, replace=False).tolist())
    return drawn


def candidates(
    found: Sequence[Sequence[Hit]], relevant: Collection[str], *, places: Sequence[Container[int]]
) -> list[Candidate]:
    """What the miners found at the chosen places, each document once, and every positive.

    Args:
        found: hits of each miner, best first.
        relevant: the query's positives.
        places: which hits of each miner are kept, counted from 0; positives are kept wherever they are.

    Returns:
        In order of the best rank that a miner gave, then of the miners; positives that none found come first, with
        rank 0, in order of their ids.
    """
    best: dict[str, tuple[int, int]] = {}
    for miner, hits in enumerate(found):
        for place, hit in enumerate(hits):
            best[hit.doc_id] = min(best.get(hit.doc_id, (place + 1, miner)), (place + 1, miner))
    kept = {
        hit.doc_id
        for hits, chosen in zip(found, places, strict=True)
        for place, hit in enumerate(hits)
        if place in chosen or hit.doc_id in relevant
    }
    ranks = [{hit.doc_id: rank for rank, hit in enumerate(hits, start=1)} for hits in found] if len(found) > 1 else []
    listed = [Candidate(doc_id, 0, None, True, (0,) * len(ranks)) for doc_id in sorted(set(relevant) - best.keys())]
    for doc_id in sorted(kept, key=best.__getitem__):
        rank, miner = best[doc_id]
        own = tuple(ranked.get(doc_id, 0) for ranked in ranks)
        listed.append(Candidate(doc_id, rank, found[miner][rank - 1].score, doc_id in relevant, own))
    return listed


def mine(
    runs: Sequence[Run],
    relevant: Mapping[str, Collection[str]],
    *,
    top: int | None,
    windows: Sequence[tuple[int, int]],
    seed: int,
) -> Iterator[tuple[str, list[Candidate]]]:
    """Candidates of every query of `relevant`, in its order.

    Args:
        runs: of each miner.
        relevant: positives by query.
        top: how many documents of each miner are kept; None with windows.
        windows: see `draw_windows`; they are drawn from each miner.
        seed: of the windows.
    """
    for query, ids in relevant.items():
        found = [run.get(query, ()) for run in runs]
        if windows:
            drawn = [draw_windows(hits, ids, windows=windows, query_id=query, seed=seed) for hits in found]
            yield query, candidates(found, ids, places=drawn)
        else:
            yield query, candidates(found, ids, places=[range(top or 0)] * len(found))


def _write_rows(writer: pq.ParquetWriter, rows: Sequence[tuple[Any, ...]]) -> None:
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
    writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=_ROW_GROUP)


def write_candidates(
    folder: Path, mined: Mapping[str, Sequence[Candidate]] | Iterable[tuple[str, Sequence[Candidate]]]
) -> int:
    """Write `candidates.parquet` (query_id and the attributes of `Candidate`), in the order given.

    Args:
        folder: to write to.
        mined: candidates by query, or pairs of both that are read once; a row group of them is in memory.

    Returns:
        How many rows there are.
    """
    count = 0
    pairs = mined.items() if isinstance(mined, Mapping) else mined
    rows = ((query, *candidate) for query, found in pairs for candidate in found)
    with pq.ParquetWriter(folder / "candidates.parquet", SCHEMA, compression="zstd") as writer:
        while group := list(islice(rows, _ROW_GROUP)):
            _write_rows(writer, group)
            count += len(group)
    return count
