"""Lucene through the stages that build, search and measure, and its search in two phases."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_vectors import Q, folder, shard, vectors
from scipy import sparse
from tokenizers import Tokenizer, models, pre_tokenizers
from two_phase_oracle import search_two_phase

from sparsemill import manifest
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.job import Job, main
from sparsemill.retrieval.exact import build_exact
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact
from sparsemill.retrieval.retriever import open_search
from sparsemill.retrieval.runs import Hit, read_run
from sparsemill.retrieval.two_phase import Found, TwoPhase
from sparsemill.retrieval.vectors import quantise


def script(name: str) -> Callable[[Job], None]:
    """The `run` of a command line in `workflow/scripts`."""
    path = Path(__file__).parents[1] / "workflow" / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[[Job], None] = module.run
    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A collection, a model's folder and vectors of whole words."""
    documents = [Document("d 0", "red", "apple"), Document("q1", "red", "red apple"), Document("d2", "", "green pear")]
    queries = [Query("q1", "red apple"), Query("q2", "pear tree"), Query("q3", "stone"), Query("q4", "unjudged")]
    qrels = {"test": [Qrel("q1", "d 0", 1), Qrel("q2", "d2", 1), Qrel("q3", "d2", 0)]}
    write_collection(folder(tmp_path / "toy"), documents, queries, qrels)
    words = ["[UNK]", "red", "apple", "green", "pear"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder(tmp_path / "model") / "tokenizer.json"))
    (tmp_path / "model" / "query_weights.json").write_text(json.dumps(dict(zip(words, [0, 1, 2, 1, 1], strict=True))))
    matrix = sparse.csr_matrix(np.array([[0, 1, 1, 0, 0], [0, 2, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=np.float32))
    shard(tmp_path / "vectors", ["d 0", "q1", "d2"], matrix)
    return tmp_path


def build(project: Path, engine: str) -> Path:
    spec = {"engine": engine, "quantisation": Q}
    spec |= {"seismic": {"n_postings": 300, "centroid_fraction": 0.1, "summary_energy": 0.4}}
    arguments = ["--spec", json.dumps(spec), "--out", str(project / engine)]
    for name, path in (("collection", "toy"), ("vectors", "vectors"), ("model", "model")):
        arguments += ["--in", name, str(project / path)]
    assert main("build_index", script("build_index"), argv=arguments) == 0
    return project / engine


@pytest.mark.parametrize("engine", ["lucene", "exact", "seismic"])
def test_build_and_search_as_commands(project: Path, engine: str) -> None:
    index = build(project, engine)
    facts = manifest.read(index)["facts"]
    assert (facts["documents"], facts["postings"]) == (3, 6)
    spec = {"engine": engine, "depth": 1, "split": "test", "self_hits": "drop", "query_length": 8, "collection": "toy"}
    spec |= {"seismic": {"query_cut": 8, "heap_factor": 0.8}} if engine == "seismic" else {}
    arguments = ["--spec", json.dumps(spec), "--out", str(project / "run"), "--in", "index", str(index)]
    arguments += ["--in", "collection", str(project / "toy"), "--in", "model", str(project / "model")]
    assert main("search", script("search"), argv=arguments) == 0
    assert read_run(project / "run" / "run.trec") == {"q1": [Hit("d 0", 3.0)], "q2": [Hit("d2", 1.0)]}
    described = json.loads((project / "run" / "run.json").read_text())
    assert described["queries"] == 3
    assert described["queries_without_results"] == 1
    assert described["collection"] == "toy"


def test_times_of_seismic_say_what_it_misses(project: Path) -> None:
    """Compared with an exact index in which the third document has another name: q1 is found again, q2 is not."""
    matrix = sparse.csr_matrix(np.array([[0, 1, 1, 0, 0], [0, 2, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=np.float32))
    index = build(project, "seismic")
    build_exact(folder(project / "exact"), [shard(project / "renamed", ["d 0", "q1", "d3"], matrix)])
    spec = {"engine": "seismic", "kind": "experiment", "split": "test", "query_side": {"query_length": 8}}
    spec |= {"options": {"seismic": {"query_cut": 8, "heap_factor": 0.8}}, "baselines": {}, "queries": 3}
    spec |= {"depths": [1, 2], "passes": 1, "warmup": 0}
    arguments = ["--spec", json.dumps(spec), "--out", str(project / "times"), "--in", "index", str(index)]
    for name, path in (("collection", "toy"), ("model", "model"), ("exact", "exact")):
        arguments += ["--in", name, str(project / path)]
    assert main("measure_engine_time", script("measure_engine_time"), argv=arguments) == 0
    found = json.loads((project / "times" / "engine_time.json").read_text())
    assert {k: found[f"seismic:recall@{k}"] for k in (1, 2)} == {1: 0.5, 2: 0.5}
    assert found["seismic:mean_ms@1"] > 0


def test_two_phases_equal_the_pure_function_on_quantised_vectors(tmp_path: Path) -> None:
    documents, queries = vectors(400, 60, density=0.2, seed=5), vectors(20, 60, density=0.15, seed=6)
    queries = sparse.vstack([queries[:3], sparse.csr_matrix((1, 60), dtype=np.float32), queries[3:]], format="csr")
    ids = [f"d{row}" for row in range(400)]
    place = shard(tmp_path / "a", ids, documents)
    build_impact(folder(tmp_path / "lucene"), [place], vocabulary=[f"t{i}" for i in range(60)], quantisation=Q)
    settings = TwoPhase(prune_ratio=0.5, expansion_rate=2.0)
    impacts = quantise(documents, Q).astype(np.float32)

    def scores(asked: sparse.csr_matrix) -> np.ndarray:
        return np.asarray((quantise(asked, Q).astype(np.float32) @ impacts.T).toarray())

    def first(asked: sparse.csr_matrix, count: int) -> list[Found]:
        ranked = [(np.lexsort((np.arange(400), -row))[:count], row) for row in scores(asked)]
        return [Found(order[row[order] > 0], row[order][row[order] > 0]) for order, row in ranked]

    def rescore(row: sparse.csr_matrix, found: np.ndarray) -> np.ndarray:
        return scores(row)[0][found]

    engine = LuceneImpact(tmp_path / "lucene", two_phase=settings)
    expected = search_two_phase(queries, 5, settings, first=first, rescore=rescore)
    for hits, wanted in zip(engine.search(queries, 5), expected, strict=True):
        assert [hit.doc_id for hit in hits] == [ids[document] for document in wanted.documents]
        assert [hit.score for hit in hits] == wanted.scores.tolist()
    whole = LuceneImpact(tmp_path / "lucene").search(queries, 5)
    assert engine.search(queries, 5) != whole  # some document was outside the window
    assert engine.search(queries, 5)[3] == []
    with pytest.raises(UserError, match="max_window_size"):
        engine.search(queries, 6000)
    with pytest.raises(UserError, match="exact does not search in two phases"):
        open_search("exact", tmp_path, queries=Unused(), two_phase={})


class Unused:
    """A query side that is never asked."""

    def encode(self, texts: Sequence[str]) -> Any:
        raise AssertionError


@pytest.mark.parametrize(("kind", "engine"), [("experiment", "lucene"), ("bm25", "bm25")])
def test_latency_as_a_command(project: Path, kind: str, engine: str) -> None:
    inputs = [("index", build(project, engine)), ("bm25", build(project, "bm25"))]
    inputs += [("collection", project / "toy"), ("model", project / "model")]
    spec = {"engine": "lucene", "kind": kind, "k": 10, "passes": 2, "queries": 300, "query_length": 8, "split": "test"}
    spec["bm25"] = {"k1": 0.9, "b": 0.4}
    arguments = ["--spec", json.dumps(spec), "--out", str(project / "latency")]
    for name, path in inputs:
        arguments += ["--in", name, str(path)]
    assert main("measure_latency", script("measure_latency"), argv=arguments) == 0
    measured = json.loads((project / "latency" / "latency.json").read_text())
    assert measured["queries"] == 3
    assert 0 < measured["p50_ms"] <= measured["p99_ms"]
    assert measured["latency/BM25"] == pytest.approx(measured["mean_ms"] / measured["bm25_mean_ms"])


@pytest.mark.parametrize(("kind", "engine"), [("experiment", "exact"), ("experiment", "lucene"), ("bm25", "lucene")])
def test_times_as_commands(project: Path, kind: str, engine: str) -> None:
    """Of the engine alone, and of what clients see; one test, because indexes and processes take the time."""
    bm25 = build(project, "bm25")
    inputs = [("index", bm25 if kind == "bm25" else build(project, engine)), ("baseline", bm25)]
    inputs += [("collection", project / "toy"), ("model", project / "model")]
    spec: dict[str, Any] = {"engine": engine, "kind": kind, "split": "test", "queries": 300, "options": {}}
    spec |= {"baselines": {"bm25": {"k1": 0.9, "b": 0.4}}, "query_side": {"query_length": 8}}
    stages = {
        "engine_time": {"depths": [1, 3], "passes": 1, "warmup": 1},
        "serving": {"k": 2, "load": {"clients": [2], "requests": 6, "seconds": 5, "rounds": 1, "warmup": 1}},
    }
    found = {}
    for stage, more in stages.items():
        arguments = ["--spec", json.dumps(spec | more), "--out", str(project / stage)]
        for name, path in inputs:
            arguments += ["--in", name, str(path)]
        assert main(f"measure_{stage}", script(f"measure_{stage}"), argv=arguments) == 0
        found[stage] = json.loads((project / stage / f"{stage}.json").read_text())
    alone, served = found.values()
    assert (alone["queries"], served["queries"], served["k"]) == (3, 3, 2)
    assert alone[f"{engine}:latency/bm25@3"] > 0
    assert 0 < alone[f"{engine}:p50_ms@1"] <= alone[f"{engine}:p99_ms@1"]
    assert served[f"{engine}:p99/bm25@2-clients"] > 0
    assert 0 < served[f"{engine}:fixed_p50_ms@2-clients"] <= served[f"{engine}:fixed_p99_ms@2-clients"]
    assert served["server_cores"] >= served["client_cores"] >= 1
