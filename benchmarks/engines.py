"""Engines side by side, one thread, one query at a time: what each takes alone, and what it finds.

All rows of a table are measured in one run. In a pass each engine is asked all queries, one after the other, as a
server is: what it has just read belongs to another query, and no other engine has taken the caches. Passes go through
the engines in turns, forwards and backwards, and a query's time is its shortest of all passes, since what other
processes add is never negative. Times are means over the queries, in microseconds. Of Lucene the call of
`IndexSearcher.search` is timed, on a query that is made already, and the whole search from Python, hits included; the
exact engine and Seismic likewise. A call from Python into the JVM takes some 8 microseconds. Engines that should miss
nothing must find the exact one's documents, but for ties, Lucene's whole weights and its rounded document lengths.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from engine_tables import BLOCKED, BOUND, DEPTHS, EXACT, KEPT, LUCENE, REMOVED, SEISMIC, report
from synthetic import Collection, View, bm25, make

from sparsemill.data.collection import Document
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.lucene_bm25 import LuceneBm25, build_bm25
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact
from sparsemill.retrieval.recall import recall
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.seismic_index import SeismicIndex, build_seismic
from sparsemill.retrieval.vectors import Shard, round_weights, write_shard

SETTINGS = {"n_postings": 450, "centroid_fraction": 0.4, "summary_energy": 0.9}
CUTS = [(4, 1.0), (5, 1.0), (6, 1.0), (8, 1.0), (8, 0.9)]
"""Of Seismic: query_cut and heap_factor."""
LEAST = 0.9
"""Recall that every engine but Seismic has, or it does other work than the exact one."""
Timed = Callable[[int, int], object]
"""Runs query number `i` for the `k` best documents."""


class Row(NamedTuple):
    """One line of the table: the view whose queries it runs, and how."""

    view: str
    engine: str
    run: Timed
    hits: Callable[[int, int], list[Hit]] | None = None


@numba.njit(nogil=True)
def _scatter(postings: Any, columns: Any, factors: Any, scores: Any) -> None:
    """The bound: add all postings of a query into one accumulator; nothing is cleared, nothing chosen."""
    offsets, documents, weights = postings
    for term in range(len(columns)):
        for position in range(offsets[columns[term]], offsets[columns[term] + 1]):
            scores[documents[position]] += factors[term] * weights[position]


def bound(view: View) -> Timed:
    """Scatter-only over postings of 8 bytes, one list a token, with unsigned indices as the engine has them."""
    inverted, queries = view.documents.tocsc(), view.queries
    arrays = inverted.indptr.astype(np.uint64), inverted.indices.view(np.uint32), inverted.data
    scores = np.zeros(view.documents.shape[0], dtype=np.float32)
    parts = [(queries.indices[a:b], queries.data[a:b]) for a, b in pairwise(queries.indptr)]
    return lambda query, _: _scatter(arrays, *parts[query], scores)


def _rows_of(queries: Any) -> list[Any]:
    return [queries[row] for row in range(queries.shape[0])]


def exact(view: str, name: str, folder: Path, queries: Any) -> Row:
    """The exact engine, either form of postings."""
    engine, rows = ExactIndex(folder), _rows_of(queries)
    return Row(view, name, lambda i, k: engine.find(rows[i], k), lambda i, k: engine.search(rows[i], k)[0])


def seismic(view: str, opened: SeismicIndex, queries: Any, query_cut: int, heap_factor: float) -> Row:
    """Seismic; alone it is called for one query at a time, since a batch starts threads."""
    engine, rows = copy.copy(opened), _rows_of(queries)
    engine._options = {"query_cut": query_cut, "heap_factor": heap_factor}
    name = f"{SEISMIC}, cut {query_cut}, factor {heap_factor}"
    made = [("0", engine._names[row.indices], row.data.astype(np.float32)) for row in rows]
    alone = engine._index.search
    return Row(
        view, name, lambda i, k: alone(*made[i], k, query_cut, heap_factor), lambda i, k: engine.search(rows[i], k)[0]
    )


def lucene(view: str, name: str, engine: Any, made: list[Any], asked: list[Any]) -> Row:
    """Lucene: queries `made` in the JVM beforehand, and `asked` from Python."""
    searcher = engine._searcher._searcher
    return Row(view, name, lambda i, k: searcher.search(made[i], k), lambda i, k: engine.search(asked[i], k)[0])


def measure(rows: list[Row], *, queries: int, passes: int, depths: tuple[int, ...]) -> dict[int, Any]:
    """Microseconds of every row at every depth, engine alone and with hits: depth -> float64 [2, rows, queries]."""
    found = {k: np.full((2, len(rows), queries), np.inf) for k in depths}
    for turn in range(passes + 1):  # the first is a warm-up, and compiles
        order = list(enumerate(rows))[:: 1 if turn % 2 else -1]
        for k, times in found.items():
            for number, row in order:
                for kind, run in enumerate((row.run, *([row.hits] if row.hits else []))):
                    for query in range(queries):
                        start = time.perf_counter()
                        run(query, k)
                        if turn:
                            times[kind, number, query] = min(times[kind, number, query], time.perf_counter() - start)
    return {k: times * 1e6 for k, times in found.items()}


def _shard(folder: Path, documents: Any) -> list[Path]:
    folder.mkdir()
    write_shard(folder, Shard([str(row) for row in range(documents.shape[0])], documents))
    return [folder]


def _texts(counts: Any) -> list[str]:
    """Words of each row as text, repeated as often as they are there."""
    words = np.array([f"w{column}" for column in range(counts.shape[1])], dtype=object)
    repeated = np.repeat(words[counts.indices], counts.data.astype(int))
    bounds = np.concatenate([[0], np.cumsum(counts.data.astype(int))])[counts.indptr]
    return [" ".join(repeated[a:b]) for a, b in pairwise(bounds)]


def _folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name


def sparse_indexes(root: Path, documents: Any, engines: list[str], *, quantisation: int) -> dict[str, Path]:
    """The indexes of learned vectors, one for each engine; both kinds of queries search them."""
    shards = _shard(root / "vectors", documents)
    folders = {kind: _folder(root, kind) for kind in ("float32", "blocked", "lucene", "seismic")}
    build_exact(folders["float32"], shards)
    build_exact(folders["blocked"], shards, postings="blocked")
    if "lucene" in engines:
        vocabulary = [f"w{column}" for column in range(documents.shape[1])]
        build_impact(folders["lucene"], shards, vocabulary=vocabulary, quantisation=quantisation)
    if "seismic" in engines:
        start = time.process_time()
        build_seismic(folders["seismic"], shards, SETTINGS)
        print(f"Seismic was built in {time.process_time() - start:,.0f} CPU seconds", file=sys.stderr)
    return folders


def sparse_rows(name: str, view: View, folders: dict[str, Path], engines: list[str], *, quantisation: int) -> list[Row]:
    """Every engine that holds learned vectors."""
    queries = view.queries
    rows = [
        Row(name, BOUND, bound(view)),
        exact(name, EXACT, folders["float32"], queries),
        exact(name, BLOCKED, folders["blocked"], queries),
    ]
    if "lucene" in engines:
        impacts, asked = LuceneImpact(folders["lucene"]), _rows_of(queries)
        weights = [round_weights(row.data, quantisation).tolist() for row in asked]
        made = [impacts._query(row.indices.tolist(), weight) for row, weight in zip(asked, weights, strict=True)]
        rows.append(lucene(name, LUCENE, impacts, made, asked))
    if "seismic" in engines:
        opened = SeismicIndex(folders["seismic"], query_cut=1, heap_factor=1.0)
        rows += [seismic(name, opened, queries, *cut) for cut in CUTS]
    return rows


def bm25_rows(root: Path, name: str, words: View, engines: list[str]) -> list[Row]:
    """BM25 as vectors in the exact engine, and in Lucene; the words hold no stop word that its analyzer would drop."""
    weighted = bm25(words)
    build_exact(folder := _folder(root, f"{name}.exact"), _shard(root / f"{name}.vectors", weighted.documents))
    rows = [exact(name, EXACT, folder, weighted.queries)]
    if "lucene" in engines:
        texts = _texts(words.documents)
        documents = (Document(str(row), "", text) for row, text in enumerate(texts))
        build_bm25(index := _folder(root, f"{name}.lucene"), documents, total=len(texts), analyzer="standard")
        engine, asked = LuceneBm25(index, analyzer="standard"), [[text] for text in _texts(words.queries)]
        made = [engine._generator.buildQuery(engine._target, engine._analyzer, text) for (text,) in asked]
        rows.append(lucene(name, "Lucene", engine, made, asked))
    return rows


def found_again(rows: list[Row], *, queries: int, k: int) -> dict[str, float]:
    """Recall of each engine of a view against the exact one, by engine."""
    with_hits = {row.engine: row.hits for row in rows if row.hits is not None}
    true = [with_hits[EXACT](query, k) for query in range(queries)]
    return {engine: recall([hits(query, k) for query in range(queries)], true) for engine, hits in with_hits.items()}


def check(again: dict[str, dict[str, float]]) -> None:
    """Stop where an engine that should miss nothing finds other documents than the exact one."""
    for place, found in again.items():
        for engine, share in found.items():
            if SEISMIC not in engine and not share >= LEAST:
                sys.exit(f"{place}: {engine} finds {share:.3f} of the exact engine's documents; nothing to compare")


def postings(view: View) -> float:
    """Postings of a query's tokens, averaged over queries, as a share of the documents."""
    frequency = np.bincount(view.documents.indices, minlength=view.documents.shape[1])
    return float(frequency[view.queries.indices].sum() / view.queries.shape[0] / view.documents.shape[0])


def _views(collection: Collection) -> dict[str, View]:
    names = ("inference-free", "SPLADE", KEPT, REMOVED)
    return dict(zip(names, collection, strict=True))


def run(collection: Collection, engines: list[str], *, passes: int, quantisation: int) -> dict[str, Any]:
    """Build all indexes, measure all engines, and say what was found again."""
    views, queries = _views(collection), collection.words.queries.shape[0]
    with tempfile.TemporaryDirectory() as name:
        root, rows = Path(name), list[Row]()
        folders = sparse_indexes(root, collection.splade.documents, engines, quantisation=quantisation)
        for view in ("inference-free", "SPLADE"):
            rows += sparse_rows(view, views[view], folders, engines, quantisation=quantisation)
        for view in (KEPT, REMOVED):
            rows += bm25_rows(root, view, views[view], engines)
        times = measure(rows, queries=queries, passes=passes, depths=DEPTHS)
        again = {
            f"{view}@{k}": found_again([row for row in rows if row.view == view], queries=queries, k=k)
            for view in views
            for k in DEPTHS
        }
    check(again)
    measured = [
        {
            "view": row.view,
            "engine": row.engine,
            **{f"us@{k}": float(times[k][0, number].mean()) for k in DEPTHS},
            **{f"p99_us@{k}": float(np.percentile(times[k][0, number], 99)) for k in DEPTHS},
            **{f"us_with_hits@{k}": float(times[k][1, number].mean()) if row.hits else None for k in DEPTHS},
            **{f"recall@{k}": again.get(f"{row.view}@{k}", {}).get(row.engine) for k in DEPTHS},
        }
        for number, row in enumerate(rows)
    ]
    shape = {
        name: {"postings": postings(view), "nonzeros": view.documents.nnz / view.documents.shape[0]}
        for name, view in views.items()
    }
    return {"documents": collection.words.documents.shape[0], "queries": queries, "views": shape, "rows": measured}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--quantisation", type=int, default=100, help="of Lucene's impacts")
    engines = ["exact", "lucene", "seismic"]
    parser.add_argument("--engines", nargs="+", choices=engines, default=engines, help="exact is always there")
    parser.add_argument("--name", help="write results/NAME.json and results/NAME.md")
    chosen = parser.parse_args()
    collection = make(chosen.documents, chosen.queries)
    measured = run(collection, chosen.engines, passes=chosen.passes, quantisation=chosen.quantisation)
    report(measured, name=chosen.name)


if __name__ == "__main__":
    main()
