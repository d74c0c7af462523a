"""Exact search over postings that are mapped into memory, not read; see `taat` for how they are added up.

Below some millions of documents this beats engines that skip postings. An index is a handful of arrays. The documents
of the collection are cut into sections, and the postings of token t in section s are `documents[offsets[s, t]:
offsets[s, t + 1]]`, counted from the start of the section, with their `weights`. There are two forms:

- `float32`: one section, 8 bytes a posting, weights as the model gave them.
- `blocked`: sections of 65,536 documents, 3 bytes a posting. A weight is a whole number from 1 to 255 times the 255th
  part of the largest weight of its token, so that no posting is lost and each is off by at most half such a part.
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
from sparsemill.retrieval.taat import Found, place, search
from sparsemill.retrieval.vectors import CHUNK, IDS, Shard, check_distinct, read_chunks, read_ids, write_ids

OFFSETS, DOCUMENTS, WEIGHTS, SCALES = "offsets.npy", "documents.npy", "weights.npy", "scales.npy"
SECTION, LEVELS = 2**16, 255
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


def _cut(shard: Shard, first: int, section: int | None) -> Iterator[tuple[int, int, Any]]:
    """Cut rows, the first of which is document `first`, at sections: section, place of the first row in it, rows."""
    if section is None:
        yield 0, first, shard.matrix
        return
    start, rows = 0, shard.matrix.shape[0]
    while start < rows:
        number, place_in_section = divmod(first + start, section)
        end = min(start + section - place_in_section, rows)
        yield number, place_in_section, shard.matrix[start:end]
        start = end


def _count(shards: Sequence[Path], section: int | None, chunk: int) -> _Counted:
    ids: list[str] = []
    counts: list[Array] = []
    largest = np.zeros(0, dtype=np.float32)
    for part in read_chunks(shards, postings=chunk):
        vocabulary = part.matrix.shape[1]
        largest = largest if len(largest) else np.zeros(vocabulary, dtype=np.float32)
        np.maximum.at(largest, part.matrix.indices, part.matrix.data)
        for number, _, rows in _cut(part, len(ids), section):
            if number == len(counts):
                counts.append(np.zeros(vocabulary, dtype=np.int64))
            counts[number] += np.bincount(rows.indices, minlength=vocabulary)
        ids.extend(part.ids)
    if not counts:
        raise UserError("no vectors to index: the list of shards is empty")
    check_distinct(ids)
    return _Counted(ids, np.array(counts), largest)


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
    blocked = postings == "blocked"
    section = SECTION if blocked else None
    counted = _count(shards, section, chunk)
    counts = counted.counts
    starts = np.concatenate([[0], np.cumsum(counts.ravel())]).astype(np.int64)
    offsets = np.column_stack([starts[:-1].reshape(counts.shape), starts[counts.shape[1] :: counts.shape[1]]])
    np.save(folder / OFFSETS, offsets if blocked else offsets[0])
    write_ids(folder / IDS, counted.ids)
    scales = (counted.largest / np.float32(LEVELS)) if blocked else None
    if scales is not None:
        np.save(folder / SCALES, scales)
    types = (np.uint16, np.uint8) if blocked else (np.int32, np.float32)
    for name, dtype in zip((DOCUMENTS, WEIGHTS), types, strict=True):
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=(int(starts[-1]),)).flush()
    _write_postings(folder, read_chunks(shards, postings=chunk), offsets, scales, total=len(counted.ids))
    statistics = ExactIndex(folder).statistics()
    check_statistics(statistics, Statistics(len(counted.ids), int(counts.sum())))
    return statistics


def _write_postings(folder: Path, parts: Iterator[Shard], offsets: Array, scales: Array | None, *, total: int) -> None:
    ends, first = offsets[:, :-1].copy(), 0
    progress = Progress("exact index", total, unit="doc")
    for part in parts:
        # Mapped anew for every part, or the pages of the whole index would stay in memory.
        documents, weights = (np.load(folder / name, mmap_mode="r+") for name in (DOCUMENTS, WEIGHTS))
        for number, start, rows in _cut(part, first, None if scales is None else SECTION):
            values = rows.data if scales is None else _levels(rows, scales)
            place(rows.indptr, rows.indices, values, start, ends[number], np.asarray(documents), np.asarray(weights))
        documents.flush()
        weights.flush()
        first += len(part.ids)
        progress.advance(len(part.ids))
    if not np.array_equal(ends, offsets[:, 1:]):
        raise RuntimeError(f"the vectors changed while they were indexed into {folder}")


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
        UserError: there is no index in `folder`.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._ids = read_ids(folder / IDS)
        offsets, documents, weights = (
            np.asarray(np.load(folder / name, mmap_mode="r")) for name in (OFFSETS, DOCUMENTS, WEIGHTS)
        )
        self._scales = np.load(folder / SCALES) if (folder / SCALES).is_file() else None
        self._section = max(len(self._ids), 1) if self._scales is None else SECTION
        self._postings = (np.atleast_2d(offsets).view(np.uint64), documents, weights)
        if documents.dtype == np.int32:
            self._postings = (self._postings[0], documents.view(np.uint32), weights)
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
        search(self._postings, len(self._ids), self._section, rows, found.documents.shape[1], part)

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return Statistics(len(self._ids), len(self._postings[1]))
