"""A file of scores as a miner: the documents that it scores are a query's candidates, best first."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit
from sparsemill.teachers.score_files import read_rows


class _Listed(NamedTuple):
    """Scores of (query, document) pairs, by index: 12 bytes each."""

    queries: NDArray[np.int32]
    documents: NDArray[np.int32]
    scores: NDArray[np.float32]

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "_Listed":
        return _Listed(self.queries[rows], self.documents[rows], self.scores[rows])


def _read(path: Path, layout: str, query_ids: Sequence[str], document_ids: Sequence[str]) -> _Listed:
    """The scores of known queries and documents, in the order of the file."""
    known = pa.array(query_ids, pa.string()), pa.array(document_ids, pa.string())
    parts = [_Listed(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))]
    for rows in read_rows(path, layout):
        queries, documents = (
            pc.fill_null(pc.index_in(column, value_set=ids), -1).to_numpy().astype(np.int32)
            for column, ids in zip((rows.queries, rows.documents), known, strict=True)
        )
        parts.append(_Listed(queries, documents, rows.scores).at((queries >= 0) & (documents >= 0)))
    return _Listed(*map(np.concatenate, zip(*parts, strict=True)))


def _distinct(path: Path, listed: _Listed, query_ids: Sequence[str], document_ids: Sequence[str]) -> _Listed:
    """Each pair once, by query and document.

    Raises:
        UserError: a score is not finite, or a pair has two of them.
    """
    listed = listed.at(np.lexsort((listed.scores, listed.documents, listed.queries)))
    again = (np.diff(listed.queries) == 0) & (np.diff(listed.documents) == 0)
    other = again & (listed.scores[1:] != listed.scores[:-1])
    bad = ~np.isfinite(listed.scores)
    if bad.any() or other.any():
        row = int(np.flatnonzero(bad if bad.any() else other)[0])
        what = "is not finite" if bad.any() else "is there twice, with different values"
        pair = f"{query_ids[listed.queries[row]]} and {document_ids[listed.documents[row]]}"
        raise UserError(f"{path}: score of {pair} {what}")
    return listed.at(np.append(True, ~again)[: len(listed.scores)])


def best_listed(
    path: Path,
    layout: str,
    relevant: Mapping[str, Collection[str]],
    *,
    document_ids: Sequence[str],
    depth: int,
) -> Iterator[tuple[str, list[Hit]]]:
    """The documents that a file scores for each query, best first; ties by their order in the collection.

    Args:
        path, layout: see `sparsemill.teachers.score_files.read_rows`; others than these queries and documents are
            passed over.
        relevant: positives by query, which are listed wherever they stand; the queries come in this order.
        document_ids: of the collection.
        depth: how many documents of a query are listed.

    Raises:
        UserError: a score is not finite, or a pair has two of them; the file scores none of the queries.
    """
    query_ids = list(relevant)
    listed = _distinct(path, _read(path, layout, query_ids, document_ids), query_ids, document_ids)
    if not len(listed.scores):
        raise UserError(f"{path}: scores no document of the collection for any of {len(query_ids)} training queries")
    listed = listed.at(np.lexsort((listed.documents, -listed.scores, listed.queries)))
    bounds = np.searchsorted(listed.queries, np.arange(len(query_ids) + 1))
    for query, (start, end) in zip(query_ids, pairwise(bounds.tolist()), strict=True):
        ids = [document_ids[document] for document in listed.documents[start:end]]
        hits = map(Hit, ids, listed.scores[start:end].tolist())
        yield query, [hit for rank, hit in enumerate(hits) if rank < depth or hit.doc_id in relevant[query]]
