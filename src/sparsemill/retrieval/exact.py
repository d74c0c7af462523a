"""Exact search over postings that are mapped into memory, not read; see `taat` for how they are added up.

Below some millions of documents this beats engines that skip postings. An index is a handful of arrays. The documents
of the collection are cut into sections of 65,536, and the postings of token t in section s are `documents[offsets[s,
t]: offsets[s, t + 1]]`, 2 bytes each, counted from the start of the section, with their `weights`. A token that a third
of a section's documents have is given a weight for all of them, 0 where it is absent: such a list is added in order,
without its documents, which are not written. There are two forms:

- `float32`: 6 bytes a posting, weights as the model gave them.
- `blocked`: 3 bytes a posting. A weight is a whole number from 1 to 255 times the 255th part of the largest weight of
  its token, so that no posting is lost. Each is off by at most half such a part; one below half a part, which is
  raised to 1, by less than a whole one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.taat import SECTION, Found, place, search
from sparsemill.retrieval.vectors import CHUNK, IDS, Shard, check_distinct, read_chunks, read_ids, write_ids

OFFSETS, DOCUMENTS, WEIGHTS, SCALES = "offsets.npy", "documents.npy", "weights.npy", "scales.npy"
LEVELS = 255
FULL = 1 / 3
"""Share of a section's documents from which on a list has all of them."""
Postings = Literal["float32", "blocked"]

Array = np.ndarray[Any, Any]


class _Counted(NamedTuple):
    """What the first reading of the vectors finds.

    Attributes:
        ids: of all documents.
        counts: postings of each token in each section, int64 [sections, vocabulary].
        largest: weight of each token, float32 [vocabulary].
    """

    ids: list[str]
    counts: Array
    largest: Array


def _cut(shard: Shard, first: int) -> Iterator[tuple[int, int, Any]]:
    """Cut rows, the first of which is document `first`, at sections: section, place of the first row in it, rows."""
    start, rows = 0, shard.matrix.shape[0]
    while start < rows:
        number, place_in_section = divmod(first + start, SECTION)
        end = min(start + SECTION - place_in_section, rows)
        yield number, place_in_section, shard.matrix[start:end]
        start = end


def _count(shards: Sequence[Path], chunk: int) -> _Counted:
    ids: list[str] = []
    counts: list[Array] = []
    largest = np.zeros(0, dtype=np.float32)
    for part in read_chunks(shards, postings=chunk):
        vocabulary = part.matrix.shape[1]
        largest = largest if len(largest) else np.zeros(vocabulary, dtype=np.float32)
        np.maximum.at(largest, part.matrix.indices, part.matrix.data)
        for number, _, rows in _cut(part, len(ids)):
            if number == len(counts):
                counts.append(np.zeros(vocabulary, dtype=np.int64))
            counts[number] += np.bincount(rows.indices, minlength=vocabulary)
        ids.extend(part.ids)
    if not counts:
        raise UserError("no vectors to index: the list of shards is empty")
    check_distinct(ids)
    return _Counted(ids, np.array(counts), largest)


def _lay_out(counts: Array, size: int) -> tuple[Array, Array]:
    """Where lists lie, for `counts` of postings [sections, vocabulary] in `size` documents.

    Returns:
        offsets int64 [sections, vocabulary + 1], and which lists have all documents of their section, bool like counts.
    """
    sizes = np.minimum(size - SECTION * np.arange(len(counts)), SECTION)[:, None]
    full = counts >= np.maximum(FULL * sizes, 1)
    starts = np.concatenate([[0], np.cumsum(np.where(full, sizes, counts).ravel())]).astype(np.int64)
    return np.column_stack([starts[:-1].reshape(counts.shape), starts[counts.shape[1] :: counts.shape[1]]]), full


def build_exact(
    folder: Path, shards: Sequence[Path], *, postings: Postings = "float32", chunk: int = CHUNK
) -> Statistics:
    """Invert shards of vectors, which are read twice; memory holds ids and a part of the postings.

    Args:
        folder: an empty folder for the index.
        shards: folders of vectors, in the order of the corpus.
        postings: form of the index.
        chunk: postings in memory at a time.

    Raises:
        UserError: a shard is broken or has another vocabulary size, or a document id is there twice.
        RuntimeError: the index holds other numbers of documents or postings than the vectors.
    """
    counted = _count(shards, chunk)
    counts, size = counted.counts, len(counted.ids)
    offsets, full = _lay_out(counts, size)
    np.save(folder / OFFSETS, offsets)
    write_ids(folder / IDS, counted.ids)
    scales = (counted.largest / np.float32(LEVELS)) if postings == "blocked" else None
    if scales is not None:
        np.save(folder / SCALES, scales)
    types = (np.uint16, np.float32 if scales is None else np.uint8)
    for name, dtype in zip((DOCUMENTS, WEIGHTS), types, strict=True):
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=(int(offsets[-1, -1]),)).flush()
    filled = _write_postings(folder, read_chunks(shards, postings=chunk), offsets, full, scales, total=size)
    if not np.array_equal(filled, counts):
        raise RuntimeError(f"the vectors changed while they were indexed into {folder}")
    statistics = ExactIndex(folder).statistics()
    check_statistics(statistics, Statistics(size, int(counts.sum())))
    return statistics


def _write_postings(
    folder: Path, parts: Iterator[Shard], offsets: Array, full: Array, scales: Array | None, *, total: int
) -> Array:
    """Place all vectors; how many postings of each token were placed in each section."""
    filled, first = np.zeros(full.shape, dtype=np.int64), 0
    progress = Progress("exact index", total, unit="doc")
    for part in parts:
        # Mapped anew for every part, or the pages of the whole index would stay in memory.
        documents, weights = (np.load(folder / name, mmap_mode="r+") for name in (DOCUMENTS, WEIGHTS))
        postings = (np.asarray(documents), np.asarray(weights))
        for number, start, rows in _cut(part, first):
            values = rows.data if scales is None else _levels(rows, scales)
            arrays = (rows.indptr, rows.indices, values)
            place(arrays, start, offsets[number, :-1], full[number], filled[number], postings)
        documents.flush()
        weights.flush()
        first += len(part.ids)
        progress.advance(len(part.ids))
    return filled


def _levels(rows: Any, scales: Array) -> Array:
    """Weights as whole numbers, uint8."""
    levels: Array = np.clip(np.rint(rows.data / scales[rows.indices]), 1, LEVELS).astype(np.uint8)
    return levels


class ExactIndex:
    """An exact index open for search; queries are CSR [queries, vocabulary] of float weights.

    Args:
        folder: what `build_exact` filled, in either form.
        threads: queries of one call that are searched at the same time; results do not depend on it.

    Raises:
        UserError: there is no index in `folder`, or one of another layout.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._ids = read_ids(folder / IDS)
        offsets, documents, weights = (
            np.asarray(np.load(folder / name, mmap_mode="r")) for name in (OFFSETS, DOCUMENTS, WEIGHTS)
        )
        if offsets.ndim != 2 or documents.dtype != np.uint16:
            raise UserError(f"{folder}: an index of an older layout; delete the folder and build it again")
        self._scales = np.load(folder / SCALES) if (folder / SCALES).is_file() else None
        self._postings = (offsets.view(np.uint64), documents, weights)
        self._weights = folder / WEIGHTS
        self._pool = ThreadPoolExecutor(threads)
        self._threads = threads

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """The k best documents of each row; see `Engine.search`.

        Raises:
            UserError: the matrix has another vocabulary size than the index.
        """
        found = self.find(queries, k)
        return [
            list(map(Hit._make, zip(map(self._ids.__getitem__, documents[:count]), scores[:count], strict=True)))
            for documents, scores, count in zip(
                found.documents.tolist(), found.scores.tolist(), found.counts.tolist(), strict=True
            )
        ]

    def find(self, queries: Any, k: int) -> Found:
        """As `search`, with documents by number.

        Raises:
            UserError: the matrix has another vocabulary size than the index.
        """
        vocabulary = self._postings[0].shape[1] - 1
        if queries.shape[1] != vocabulary:
            raise UserError(
                f"queries have {queries.shape[1]} columns, but the index has {vocabulary} tokens; "
                "search with the model that the index was made with"
            )
        rows, k = queries.shape[0], max(min(k, len(self._ids)), 1)
        weights = queries.data.astype(np.float32, copy=False)
        if self._scales is not None:
            weights = weights * self._scales[queries.indices]
        arrays = (queries.indptr.astype(np.int64), queries.indices.astype(np.int32, copy=False), weights)
        found = Found(np.empty((rows, k), np.uint32), np.empty((rows, k), np.float32), np.empty(rows, np.int64))
        if self._threads == 1 or rows == 1:
            self._fill(arrays, found, 0, rows)
        else:
            cuts = np.unique(np.linspace(0, rows, 4 * self._threads + 1).astype(int)).tolist()
            list(self._pool.map(lambda span: self._fill(arrays, found, *span), pairwise(cuts)))
        return found

    def _fill(self, queries: tuple[Array, Array, Array], found: Found, start: int, end: int) -> None:
        part = Found(*(array[start:end] for array in found))
        bounds, columns, weights = queries
        rows = (bounds[start : end + 1], columns, weights)
        search(self._postings, len(self._ids), rows, found.documents.shape[1], part)

    def statistics(self) -> Statistics:
        """Counts of the whole index, whose weights are all read."""
        size, postings = len(self._postings[2]), 0
        for start in range(0, size, CHUNK):  # mapped anew each time, as in building
            postings += int(np.count_nonzero(np.load(self._weights, mmap_mode="r")[start : start + CHUNK]))
        return Statistics(len(self._ids), postings)
