"""Seismic (pyseismic-lsr): approximate search of learned sparse vectors, for serving a few documents per query fast.

Bruch et al., "Efficient Inverted Indexes for Approximate Retrieval over Learned Sparse Representations", SIGIR 2024.
Each token keeps its `n_postings` largest postings on average, clustered into blocks with a summary each; a query looks
at its `query_cut` heaviest tokens and skips blocks whose summary, divided by `heap_factor`, is below the k-th best
score so far. What it finds is scored with all tokens, in half precision. How much of the true top k it misses must be
measured, see `sparsemill.retrieval.recall`. The package draws cluster centres at random without a seed, so that two
builds of the same vectors differ in bytes, and a little in what they miss.
"""

import importlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import IDS, check_distinct, read_chunks, read_ids, write_ids

SETTINGS, INDEX = "seismic.json", "vectors"
_SUFFIX = ".index.seismic"
_NARROW = 2**16
"""Tokens that 16-bit numbers can tell apart."""


def _classes(vocabulary: int) -> tuple[Any, Any, str]:
    """Dataset and index classes of the package for a vocabulary of that size, and its type of strings.

    Raises:
        UserError: the package is not installed.
    """
    try:
        package: Any = importlib.import_module("seismic")
    except ImportError:
        raise UserError("engine seismic needs the package pyseismic-lsr; pip install 'sparsemill[seismic]'") from None
    if vocabulary <= _NARROW:
        return package.SeismicDataset, package.SeismicIndex, package.get_seismic_string()
    return package.SeismicDatasetLV, package.SeismicIndexLV, package.get_seismic_string()


def build_seismic(
    folder: Path, shards: Sequence[Path], settings: Mapping[str, float], *, threads: int = 1
) -> Statistics:
    """Index shards of vectors; memory holds the vectors and the index.

    Args:
        folder: an empty folder for the index.
        shards: folders of vectors, in the order of the corpus.
        settings: `n_postings`, `centroid_fraction` and `summary_energy` of the package.
        threads: that build.

    Raises:
        UserError: the package is missing, a shard is broken, there is nothing to index, or an id is there twice.
        RuntimeError: the index holds other numbers of documents or postings than the vectors.
    """
    ids: list[str] = []
    filled = postings = vocabulary = 0
    dataset: Any = None
    index: Any = None
    for part in read_chunks(shards):
        if dataset is None:
            vocabulary = part.matrix.shape[1]
            made, index, _ = _classes(vocabulary)
            dataset = made(dim=vocabulary)
        part.matrix.sort_indices()
        _check_weights(part.matrix.data)
        names = [str(number) for number in range(len(ids), len(ids) + len(part.ids))]
        bounds = part.matrix.indptr.astype(np.int64)
        dataset.add_documents_by_id(names, part.matrix.indices.astype(np.int64), part.matrix.data, bounds)
        ids.extend(part.ids)
        filled, postings = filled + int((np.diff(bounds) > 0).sum()), postings + part.matrix.nnz
    if not postings:
        raise UserError("no vectors to index: the list of shards is empty, or all vectors are")
    check_distinct(ids)
    built = index.build_from_dataset(dataset, **settings, num_threads=threads)
    check_statistics(Statistics(built.len, built.nnz), Statistics(filled, postings))
    built.save(str(folder / INDEX))
    write_ids(folder / IDS, ids)
    write_json(folder / SETTINGS, {"vocabulary": vocabulary, "postings": postings, **settings})
    return Statistics(len(ids), postings)


def _check_weights(weights: np.ndarray[Any, Any]) -> None:
    most = float(np.finfo(np.float16).max)
    if weights.max(initial=0) > most:
        raise UserError(
            f"a weight of {weights.max():g} is above {most:g}, the largest that seismic keeps; use engine: exact"
        )


class SeismicIndex:
    """A Seismic index open for search; queries are CSR [queries, vocabulary] of float weights.

    Args:
        folder: what `build_seismic` filled.
        query_cut: heaviest tokens of a query that are looked up.
        heap_factor: 0 to 1; the lower, the more is searched.
        threads: queries of one call that are searched at the same time.

    Raises:
        UserError: there is no index in `folder`, or the package is missing.
    """

    def __init__(self, folder: Path, *, query_cut: int, heap_factor: float, threads: int = 1) -> None:
        settings = read_json(folder / SETTINGS)
        self._vocabulary: int = settings["vocabulary"]
        self._postings: int = settings["postings"]
        self._ids = read_ids(folder / IDS)
        _, index, string = _classes(self._vocabulary)
        self._index = index.load(str(folder / INDEX) + _SUFFIX)
        self._names = np.array([str(token) for token in range(self._vocabulary)], dtype=string)
        self._options = {"query_cut": query_cut, "heap_factor": heap_factor}
        self._threads = threads

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """Good documents of each row, usually the k best; else as `Engine.search`.

        Raises:
            UserError: the matrix has another vocabulary size than the index.
        """
        if queries.shape[1] != self._vocabulary:
            raise UserError(
                f"queries have {queries.shape[1]} columns, but the index has {self._vocabulary} tokens; "
                "search with the model that the index was made with"
            )
        found = self._batch(queries, k) if queries.shape[0] else []
        return [[Hit(self._ids[row], -score) for score, row in sorted(hits)] for hits in found]

    def _batch(self, queries: Any, k: int) -> list[list[tuple[float, int]]]:
        """Of each query, pairs of the negated score and the number of a document."""
        rows = [slice(*span) for span in pairwise(queries.indptr.tolist())]
        tokens, weights = self._names[queries.indices], queries.data.astype(np.float32, copy=False)
        found = self._index.batch_search(
            np.array([str(number) for number in range(len(rows))], dtype=self._names.dtype),
            [tokens[row] for row in rows],
            [weights[row] for row in rows],
            k,
            **self._options,
            num_threads=self._threads,
        )
        hits: list[list[tuple[float, int]]] = [[] for _ in rows]
        for query_hits in found:
            for query, score, name in query_hits:
                if score > 0:
                    hits[int(query)].append((-score, int(name)))
        return hits

    def statistics(self) -> Statistics:
        """Counts of the whole index, documents without postings included."""
        return Statistics(len(self._ids), self._postings)
