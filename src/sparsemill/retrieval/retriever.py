"""From query texts to a run, whatever the engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsemill.data.collection import Query
from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.retrieval.engine import Engine
from sparsemill.retrieval.queries import Queries
from sparsemill.retrieval.runs import Hit, Run

Search = Callable[[list[str], int], list[list[Hit]]]
"""Texts and k -> the k best documents of each text."""

_BATCH = 64


def open_search(
    engine: str,
    index: Path,
    *,
    k1: float = 0.9,
    b: float = 0.4,
    analyzer: str = "english",
    fields: str = "flat",
    queries: Queries | None = None,
    seismic: Mapping[str, Any] | None = None,
    threads: int = 1,
    cluster: Mapping[str, Any] | None = None,
    two_phase: Mapping[str, Any] | None = None,
) -> Search:
    """Open an index for query texts.

    Args:
        engine: `bm25`, `lucene`, `exact` or `seismic`; of no meaning on a cluster.
        index: folder that `build_index` made for that engine.
        k1: of BM25.
        b: of BM25.
        analyzer: of BM25, that of the index.
        fields: of BM25, those of the index.
        queries: see `open_queries`; not for BM25.
        seismic: `query_cut` and `heap_factor`; only for that engine.
        threads: that search; not for Lucene.
        cluster: `spec` and `connection` of `open_cluster`, where the index lives on a cluster.
        two_phase: fields of `TwoPhase`; for `lucene` (None: one phase).

    Raises:
        UserError: the engine is unknown, a file is missing, or the cluster cannot be reached.
    """
    if engine == "bm25" and cluster is None:
        from sparsemill.retrieval.lucene_bm25 import LuceneBm25

        return LuceneBm25(index, k1=k1, b=b, analyzer=analyzer, fields=fields).search
    if queries is None:
        raise UserError(f"engine {engine}: a model's folder is needed to encode queries")
    encode = queries.encode
    if cluster is not None:
        from sparsemill.retrieval.clusters import open_cluster

        on_cluster = open_cluster(index, cluster["spec"], cluster["connection"])
        return lambda texts, k: on_cluster.search(encode(texts), k)
    opened, unit = _open_sparse(engine, index, threads, two_phase=two_phase, seismic=seismic)

    def search(texts: list[str], k: int) -> list[list[Hit]]:
        found = opened.search(encode(texts), k)
        if unit == 1:
            return found
        return [[Hit(hit.doc_id, hit.score / unit) for hit in hits] for hits in found]

    return search


def _open_sparse(
    engine: str, index: Path, threads: int, *, two_phase: Mapping[str, Any] | None, seismic: Mapping[str, Any] | None
) -> tuple[Engine[Any], int]:
    """The engine, and what its scores are multiples of a dot product by: Lucene's impacts are integers."""
    if engine == "lucene":
        from sparsemill.retrieval.lucene_impact import LuceneImpact
        from sparsemill.retrieval.two_phase import TwoPhase

        impacts = LuceneImpact(index, two_phase=None if two_phase is None else TwoPhase(**two_phase))
        return impacts, impacts.quantisation**2
    if two_phase is not None:
        raise UserError(f"engine {engine} does not search in two phases; lucene does")
    if engine == "exact":
        from sparsemill.retrieval.exact import ExactIndex

        return ExactIndex(index, threads=threads), 1
    if engine == "seismic" and seismic is not None:
        from sparsemill.retrieval.seismic_index import SeismicIndex

        return SeismicIndex(index, **seismic, threads=threads), 1
    raise UserError(f"engine {engine!r} is unknown; there are bm25, lucene, exact and seismic")


def retrieve_each(
    search: Search, queries: Sequence[Query], *, depth: int, drop_self_hits: bool
) -> Iterator[tuple[str, list[Hit]]]:
    """Search all queries, some at a time.

    Args:
        search: see `open_search`.
        queries: in the order that the run will have.
        depth: documents kept per query.
        drop_self_hits: leave out the document that has the query's own id (collections whose queries are documents).

    Yields:
        Query id and hits, which are empty where nothing was found.
    """
    progress = Progress("search", len(queries), unit="query")
    for start in range(0, len(queries), _BATCH):
        batch = queries[start : start + _BATCH]
        found = search([query.text for query in batch], depth + drop_self_hits)
        for query, hits in zip(batch, found, strict=True):
            kept = [hit for hit in hits if not (drop_self_hits and hit.doc_id == query.id)]
            yield query.id, kept[:depth]
        progress.advance(len(batch))


def retrieve(search: Search, queries: Sequence[Query], *, depth: int, drop_self_hits: bool) -> Run:
    """The run of `retrieve_each` in memory."""
    return dict(retrieve_each(search, queries, depth=depth, drop_self_hits=drop_self_hits))
