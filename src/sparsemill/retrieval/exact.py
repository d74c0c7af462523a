"""Exact search in memory: every posting of every query token is added into one accumulator.

Below about a million documents this beats engines that skip postings, and its float32 weights are not quantised.
The index is three arrays that are mapped into memory, not read: the postings of token t are
`documents[offsets[t]:offsets[t + 1]]` with their `weights`.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import IDS, Shard, check_distinct, read_ids, read_shards, write_ids

OFFSETS, DOCUMENTS, WEIGHTS = "offsets.npy", "documents.npy", "weights.npy"

Array = np.ndarray[Any, Any]


def _place(shard: tuple[Array, Array, Array], first: int, ends: Array, documents: Array, weights: Array) -> None:
    """Append the rows of a CSR shard, whose first document is `first`, to the postings that end at `ends`."""
    bounds, columns, values = shard
    for row in range(len(bounds) - 1):
        for position in range(bounds[row], bounds[row + 1]):
            end = ends[columns[position]]
            documents[end] = first + row
            weights[end] = values[position]
            ends[columns[position]] = end + 1


def _accumulate(index: tuple[Array, Array, Array], columns: Array, query_weights: Array, accumulator: Array) -> None:
    """Set `accumulator[d]` to the dot product of the query and document d."""
    offsets, documents, weights = index
    accumulator[:] = 0
    for column, query_weight in zip(columns, query_weights):  # noqa: B905 (numba has no strict=)
        for position in range(offsets[column], offsets[column + 1]):
            accumulator[documents[position]] += query_weight * weights[position]


# Compiled at the first call (about a second); calls and not decorators, which would hide the types.
_place_fast = numba.njit(_place)
_accumulate_fast = numba.njit(_accumulate, nogil=True)


def best(scores: Array, k: int) -> Array:
    """Indices of the k largest positive scores, largest first; of equal scores, the smaller index first."""
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        values = scores[found]
        threshold = np.partition(values, len(found) - k)[len(found) - k]
        above = found[values > threshold]
        level = found[values == threshold][: k - len(above)]
        found = np.concatenate([above, level])
    order: Array = found[np.lexsort((found, -scores[found]))]
    return order


def build_exact(folder: Path, shards: Sequence[Path]) -> Statistics:
    """Invert shards of vectors; memory holds one shard at a time.

    Args:
        folder: an empty folder for the index.
        shards: folders of vectors, in the order of the corpus; each is read twice.

    Raises:
        UserError: a shard is broken or has another vocabulary size, or a document id is there twice.
        RuntimeError: the index holds other numbers of documents or postings than the vectors.
    """
    ids: list[str] = []
    counts: Array | None = None
    for shard in read_shards(shards):
        ids.extend(shard.ids)
        found = np.bincount(_stored(shard)[1], minlength=shard.matrix.shape[1])
        counts = found if counts is None else counts + found
    if counts is None:
        raise UserError("no vectors to index: the list of shards is empty")
    check_distinct(ids)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.save(folder / OFFSETS, offsets)
    write_ids(folder / IDS, ids)
    _write_postings(folder, shards, offsets)
    statistics = ExactIndex(folder).statistics()
    check_statistics(statistics, Statistics(len(ids), int(counts.sum())))
    return statistics


def _stored(shard: Shard) -> tuple[Array, Array, Array]:
    """The CSR arrays of a shard without the zeros that a matrix may store."""
    shard.matrix.eliminate_zeros()
    return shard.matrix.indptr, shard.matrix.indices, shard.matrix.data


def _write_postings(folder: Path, shards: Sequence[Path], offsets: Array) -> None:
    size = (int(offsets[-1]),)
    documents = np.lib.format.open_memmap(folder / DOCUMENTS, mode="w+", dtype=np.int32, shape=size)
    weights = np.lib.format.open_memmap(folder / WEIGHTS, mode="w+", dtype=np.float32, shape=size)
    ends, first = offsets[:-1].copy(), 0
    progress = Progress("exact index", len(shards), unit="shard")
    for shard in read_shards(shards):
        _place_fast(_stored(shard), first, ends, np.asarray(documents), np.asarray(weights))
        first += len(shard.ids)
        progress.advance()
    documents.flush()
    weights.flush()


class ExactIndex:
    """An exact index open for search; queries are CSR [queries, vocabulary] of float weights.

    Args:
        folder: what `build_exact` filled.

    Raises:
        UserError: there is no index in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._ids = read_ids(folder / IDS)
        offsets, documents, weights = (
            np.asarray(np.load(folder / name, mmap_mode="r")) for name in (OFFSETS, DOCUMENTS, WEIGHTS)
        )
        self._index = (offsets, documents, weights)
        self._accumulator = np.zeros(len(self._ids), dtype=np.float32)

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """The k best documents of each row; see `Engine.search`.

        Raises:
            UserError: the matrix has another vocabulary size than the index.
        """
        vocabulary = len(self._index[0]) - 1
        if queries.shape[1] != vocabulary:
            raise UserError(
                f"queries have {queries.shape[1]} columns, but the index has {vocabulary} tokens; "
                "search with the model that the index was made with"
            )
        weights = queries.data.astype(np.float32, copy=False)
        rows = [slice(start, end) for start, end in pairwise(queries.indptr.tolist())]
        return [self._search(queries.indices[row], weights[row], k) for row in rows]

    def _search(self, columns: Array, weights: Array, k: int) -> list[Hit]:
        _accumulate_fast(self._index, columns, weights, self._accumulator)
        found = best(self._accumulator, k)
        scores = self._accumulator[found].tolist()
        return [Hit(self._ids[document], score) for document, score in zip(found.tolist(), scores, strict=True)]

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return Statistics(len(self._ids), len(self._index[1]))
