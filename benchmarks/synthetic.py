"""A seeded collection with the statistics of MS MARCO passages: what engines see of it, postings and weights.

Words of a passage come from two sources, a Zipf law over the whole vocabulary (its first ranks are the stop words) and
another over the words of the passage's topic. Three views of the same passages:

- words, stop words kept or removed: for BM25.
- inference-free: nearly all words of the passage, and words of its topic that it lacks, as an encoder adds them;
  queries are sets of words that weigh their idf.
- SPLADE: the same documents, queries expanded to 30 words.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

VOCABULARY, TOPICS, TOPIC_WORDS = 30_522, 3_000, 1_500
STOP_WORDS, RARE = 33, 1_000
FREQUENT = 150
"""Ranks of words that most passages share, of which an encoder keeps 19 in 20."""

Array = np.ndarray[Any, Any]


class View(NamedTuple):
    """Documents and queries of one kind: CSR float32 [documents, vocabulary] and [queries, vocabulary]."""

    documents: Any
    queries: Any


def _zipf(size: int, exponent: float) -> Array:
    """Cumulative distribution of ranks 0 to size - 1."""
    weights = (np.arange(size) + 2.7) ** -exponent
    return np.cumsum(weights / weights.sum())


def _draw(rng: np.random.Generator, cumulative: Array, count: int) -> Array:
    return np.minimum(np.searchsorted(cumulative, rng.random(count)), len(cumulative) - 1)


def draw_topics(rng: np.random.Generator) -> Array:
    """int32 [topics, words]: what a topic speaks of; frequent words belong to many topics."""
    popular = _draw(rng, _zipf(VOCABULARY - FREQUENT, 0.8), TOPICS * TOPIC_WORDS) + FREQUENT
    return popular.astype(np.int32).reshape(TOPICS, TOPIC_WORDS)


def _count(rows: Array, columns: Array, shape: tuple[int, int]) -> Any:
    """CSR of how often each column is there in a row; rows ascend."""
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    ones = np.ones(len(rows), dtype=np.float32)
    counts = sparse.csr_matrix((ones, columns.astype(np.int32), bounds.astype(np.int32)), shape=shape)
    counts.sum_duplicates()
    return counts


class Collection(NamedTuple):
    """All views of one collection; `words` counts the words of passages and queries, before BM25 weighs them."""

    inference_free: View
    splade: View
    words: View
    words_without_stop_words: View


def _idf(counts: Any) -> Array:
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: Array = np.log1p((counts.shape[0] - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    return idf


def bm25(words: View, *, k1: float = 0.9, b: float = 0.4) -> View:
    """Weigh counted words, so that score = document row . query row."""
    counts, queries = words
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    norms = k1 * (1 - b + b * lengths / lengths.mean())
    documents, weighted = counts.copy(), queries.copy()
    documents.data /= documents.data + np.repeat(norms, np.diff(documents.indptr)).astype(np.float32)
    weighted.data *= _idf(counts)[queries.indices]
    return View(documents, weighted)


def _without(matrix: Any, drop: Array) -> Any:
    kept = matrix.copy()
    kept.data[drop] = 0
    kept.eliminate_zeros()
    return kept


def make(documents: int, queries: int, *, seed: int = 0, topic_words: Array | None = None) -> Collection:
    """Draw a collection.

    Args:
        documents: passages; some 45 distinct words each, 150 after expansion.
        queries: of some 6 words each, made from the words of a passage.
        seed: same seed, same collection.
        topic_words: from `draw_topics`, shared by the parts of a larger collection (None: drawn too).
    """
    rng = np.random.default_rng(seed)
    topics = rng.integers(TOPICS, size=documents)
    topic_words = draw_topics(rng) if topic_words is None else topic_words
    shape, general, topical = (documents, VOCABULARY), _zipf(VOCABULARY, 1.1), _zipf(TOPIC_WORDS, 0.9)
    lengths = np.maximum(rng.lognormal(np.log(58) - 0.5**2 / 2, 0.5, size=documents).astype(np.int64), 5)
    rows = np.repeat(np.arange(documents), lengths)
    words = _draw(rng, general, len(rows)).astype(np.int32)
    own = rng.random(len(rows)) < 0.45
    words[own] = topic_words[topics[rows[own]], _draw(rng, topical, int(own.sum()))]
    counts = _count(rows, words, shape)
    added = np.repeat(np.arange(documents), rng.poisson(185, size=documents))
    expansion = _count(added, topic_words[topics[added], _draw(rng, topical, len(added))], shape)
    kept = _without(counts, (counts.indices < FREQUENT) & (rng.random(counts.nnz) < 0.05))
    expanded = (kept + expansion).tocsr()
    expanded.data = np.log1p(rng.gamma(1.2, 0.8, size=expanded.nnz)).astype(np.float32)
    asked = _queries(rng, counts, queries)
    weighted = asked.copy()
    weighted.data = np.maximum(_idf(expanded)[asked.indices], 1e-3)
    return Collection(
        View(expanded, weighted),
        View(expanded, _expanded_queries(rng, expanded, weighted)),
        View(counts, asked),
        View(*(_without(matrix, matrix.indices < STOP_WORDS) for matrix in (counts, asked))),
    )


def _queries(rng: np.random.Generator, counts: Any, queries: int) -> Any:
    """Sets of words of random passages: four rare ones on average, and three frequent ones."""
    rows, columns = [], []
    for query in range(queries):
        row = rng.integers(counts.shape[0])
        words = counts.indices[counts.indptr[row] : counts.indptr[row + 1]]
        rare, frequent = words[words >= FREQUENT], words[words < FREQUENT]
        sizes = ((rare, 2 + rng.poisson(2)), (frequent, rng.poisson(3)))
        chosen = np.concatenate([rng.permutation(part)[:size] for part, size in sizes]).tolist()
        columns += chosen
        rows += [query] * len(chosen)
    return _count(np.array(rows), np.array(columns), (queries, counts.shape[1]))


def _expanded_queries(rng: np.random.Generator, documents: Any, queries: Any, *, size: int = 24) -> Any:
    """Queries with words of a document that shares their rarest word, at a third of the weight."""
    columns = documents[:50_000].tocsc()
    rows, added = [], []
    for query in range(queries.shape[0]):
        span = slice(queries.indptr[query], queries.indptr[query + 1])
        rarest = queries.indices[span][np.argmax(queries.data[span])]
        sharing = columns.indices[columns.indptr[rarest] : columns.indptr[rarest + 1]]
        if len(sharing):
            words = documents[int(sharing[rng.integers(len(sharing))])].indices
            words = words[words >= RARE]
            added += rng.permutation(words)[:size].tolist()
            rows += [query] * min(size, len(words))
    expansion = _count(np.array(rows), np.array(added), queries.shape)
    expansion.data = rng.uniform(0.1, 1.5, size=expansion.nnz).astype(np.float32)
    expanded = queries + expansion
    return expanded.tocsr().astype(np.float32)
