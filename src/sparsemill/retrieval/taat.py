"""Term-at-a-time search, compiled: every posting of every query token is added into an accumulator.

Documents are taken block by block, so that the accumulator stays in the first-level cache however large the collection
is. A list that names every document of its section is added in order, several documents at a time. Candidates of all
blocks go into one buffer of 64-bit entries: the bits of the score, then those of the document's number. Bits of floats
that are not negative are ordered as the floats are.

All compiled code is in this module: numba's cache notices changes in the file of a function, not in what it calls.
Indices are unsigned throughout, because numba adds a test for negative ones to every access.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])

SECTION = 2**16
"""Documents of a section, which is a small index of its own, so that a document's number in it takes 2 bytes."""
BLOCK = 8192
"""Documents whose scores are accumulated together: 32 KiB; divides `SECTION`."""
_LANE = 64
"""Scores that are compared with the threshold together; divides `BLOCK`."""
_BINS = 1024
_LEAST = 256
"""The smallest buffer: holding a few more candidates costs less than choosing the k best of them often."""
_0, _1, _2, _3, _4, _32, _255, _256 = (np.uint64(number) for number in (0, 1, 2, 3, 4, 32, 255, 256))


class Found(NamedTuple):
    """The best documents of some queries.

    Attributes:
        documents: uint32 [queries, k], row number in the corpus, best first.
        scores: float32 [queries, k].
        counts: int64 [queries]: how many are valid; what comes after them is undefined.
    """

    documents: Array
    scores: Array
    counts: Array


def _compiled(function: Function) -> Function:
    """Compile at the first call, and keep the machine code for later processes where a folder can be written."""
    try:
        compiled: Function = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # numba finds no such folder
        compiled = numba.njit(function, nogil=True)
    return compiled


@_compiled
def place(
    rows: tuple[Array, Array, Array], first: int, offsets: Array, full: Array, filled: Array, postings: tuple[Any, Any]
) -> None:
    """Put the rows of a CSR matrix, whose first document is `first`, into the postings of their section.

    Args:
        rows: bounds, columns and values.
        first: counted from the start of the section.
        offsets: int64 [vocabulary]: where the list of each token begins.
        full: bool [vocabulary]: lists of all documents, of which only weights are written.
        filled: int64 [vocabulary]: postings of each token that are there already; counted on.
        postings: documents and weights.
    """
    bounds, columns, values = rows
    documents, weights = postings
    for row in range(len(bounds) - 1):
        for position in range(bounds[row], bounds[row + 1]):
            column = columns[position]
            if full[column]:
                end = offsets[column] + first + row
            else:
                end = offsets[column] + filled[column]
                documents[end] = first + row
            weights[end] = values[position]
            filled[column] += 1


@_compiled
def _add(weights: Array, start: Any, count: Any, factor: Any, scores: Array) -> None:
    """Add the weights of `count` documents in order, from `start` on: vectorised."""
    for i in range(count):
        scores[i] += factor * np.float32(weights[start + i])


@_compiled
def _scatter(
    documents: Array, weights: Array, position: Any, end: Any, low: Any, high: Any, factor: Any, scores: Array
) -> Any:
    """Add postings of one token from `position` on while their documents lie below `high`; where that ended."""
    while position + _4 <= end and documents[position + _3] < high:  # documents ascend: one test for four
        scores[np.uint32(documents[position] - low)] += factor * np.float32(weights[position])
        scores[np.uint32(documents[position + _1] - low)] += factor * np.float32(weights[position + _1])
        scores[np.uint32(documents[position + _2] - low)] += factor * np.float32(weights[position + _2])
        scores[np.uint32(documents[position + _3] - low)] += factor * np.float32(weights[position + _3])
        position += _4
    while position < end and documents[position] < high:
        scores[np.uint32(documents[position] - low)] += factor * np.float32(weights[position])
        position += _1
    return position


@_compiled
def _kth(buffer: Array, filled: Any, k: int, bins: Array) -> tuple[Any, Any]:
    """Bits of the k-th largest score, and how many of the scores equal to it are among the k."""
    low, high = buffer[0] >> _32, buffer[0] >> _32
    for i in range(filled):
        low, high = min(low, buffer[i] >> _32), max(high, buffer[i] >> _32)
    while True:
        shift = _0
        while (high - low) >> shift >= np.uint64(_BINS):
            shift += _1
        bins[:] = 0
        for i in range(filled):
            bits = buffer[i] >> _32
            if low <= bits <= high:
                bins[(bits - low) >> shift] += 1
        chosen = (high - low) >> shift
        while bins[chosen] < k:
            k -= bins[chosen]
            chosen -= _1
        low += chosen << shift
        if shift == _0:
            return low, k
        high = low + (_1 << shift) - _1


@_compiled
def _keep(buffer: Array, filled: Any, k: int, bins: Array) -> tuple[Any, Any]:
    """Leave the k best in the buffer, of equal scores the first; how many there are, and bits of the least score."""
    if filled <= k:
        return filled, np.int64(0)
    least, level = _kth(buffer, filled, k, bins)
    kept = _0
    for i in range(filled):
        entry = buffer[i]
        bits = entry >> _32
        taken = bits > least or (bits == least and level > 0)
        level -= bits == least
        buffer[kept] = entry
        kept += np.uint64(taken)
    return kept, np.int64(least)


@_compiled
def _give(buffer: Array, filled: Any, other: Array, bins: Array, documents: Array, scores: Array) -> None:
    """Sort the buffer by score, largest first, equal ones in the order that they have; take its entries apart."""
    for digit in range(4):  # digits of 8 bits, the least significant first
        shift = np.uint64(32 + 8 * digit)
        bins[:257] = 0
        for i in range(filled):
            bins[_256 - (buffer[i] >> shift & _255)] += 1
        for value in range(256):
            bins[value + 1] += bins[value]
        for i in range(filled):
            value = _255 - (buffer[i] >> shift & _255)
            other[bins[value]] = buffer[i]
            bins[value] += 1
        buffer, other = other, buffer
    bits = scores.view(np.uint32)
    for i in range(filled):
        bits[i] = buffer[i] >> _32
        documents[i] = np.uint32(buffer[i])


@_compiled
def _collect(
    scores: Array, first: Any, k: int, buffer: Array, filled: Any, threshold: Any, bins: Array
) -> tuple[Any, Any]:
    """Move the scores of a block that are above the threshold into the buffer, and set all to 0."""
    bits = scores.view(np.int32)
    limit = np.uint64(len(buffer) - _LANE)
    for start in range(0, BLOCK, _LANE):
        lane = range(np.uint64(start), np.uint64(start + _LANE))
        # Negative if one of them is above: a reduction that is vectorised, unlike the largest of so few.
        spare, least = np.int32(0), np.int32(threshold)
        for i in lane:
            spare |= np.int32(least - bits[i])
        if spare < 0:
            for i in lane:
                buffer[filled] = np.uint64(bits[i]) << _32 | np.uint64(first + i)
                filled += np.uint64(bits[i] > least)
            if filled > limit:
                filled, threshold = _keep(buffer, filled, k, bins)
    scores[:] = 0
    return filled, threshold


@_compiled
def search(
    postings: tuple[Array, Array, Array], size: int, queries: tuple[Array, Array, Array], k: int, found: Found
) -> None:
    """The k documents with the largest positive scores for each query.

    Args:
        postings: offsets uint64 [sections, vocabulary + 1]; documents (uint16, counted from the start of their
            section, ascending) and weights, both [postings]. A list as long as its section has the weights of all
            documents of it, and its documents are not read.
        size: documents of the collection.
        queries: CSR arrays of the queries: bounds, columns and float32 weights.
        k: at least 1.
        found: filled for all queries.
    """
    offsets, documents, weights = postings
    bounds, columns, factors = queries
    scores = np.zeros(BLOCK, dtype=np.float32)
    buffer = np.empty(max(2 * k, _LEAST) + 2 * _LANE, dtype=np.uint64)
    other = np.empty_like(buffer)
    bins = np.empty(_BINS, dtype=np.int64)
    for query in range(len(bounds) - 1):
        terms = columns[bounds[query] : bounds[query + 1]]
        weighted = factors[bounds[query] : bounds[query + 1]]
        positions = np.empty(len(terms), dtype=np.uint64)
        filled: Any = _0
        threshold: Any = np.int64(0)
        for number in range(offsets.shape[0]):
            start = number * SECTION
            here = min(SECTION, size - start)
            for t in range(len(terms)):
                positions[t] = offsets[number, terms[t]]
            for block in range(0, here, BLOCK):
                low = np.uint32(block)
                high = np.uint32(block + BLOCK)
                for t in range(len(terms)):
                    begin, end = offsets[number, terms[t]], offsets[number, terms[t] + 1]
                    if end - begin == np.uint64(here):
                        _add(weights, begin + low, np.uint64(min(BLOCK, here - block)), weighted[t], scores)
                    else:
                        positions[t] = _scatter(documents, weights, positions[t], end, low, high, weighted[t], scores)
                filled, threshold = _collect(scores, np.int64(start + block), k, buffer, filled, threshold, bins)
        filled, threshold = _keep(buffer, filled, k, bins)
        _give(buffer, filled, other, bins, found.documents[query], found.scores[query])
        found.counts[query] = filled
