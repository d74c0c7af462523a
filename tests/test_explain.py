"""The page of explained queries, and the sparsity of the same tiny retriever, through the command lines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from test_collect import call
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.files import write_json
from sparsemill.retrieval import vectors
from sparsemill.retrieval.runs import Hit, write_run
from sparsemill.retrieval.vectors import Shard, quantise, write_shard
from sparsemill.tables.explain import Answer, Explained, Found, Term, best_rank, choose_queries, read_vectors, strongest
from sparsemill.tables.explain_page import SNIPPET, page
from sparsemill.teachers.cache import save_matrix

WORDS = ["[UNK]", "graph", "shortest", "path", "node", "edge", "the", "array", "<b>"]
DOCUMENTS = [
    Document("d1", "Shortest <path>", "the shortest path & more"),
    Document("d2", "", "array " * 100),
    Document("d3", "Graph", "the graph"),
]
QUERIES = [Query("q1", "the shortest graph path"), Query("q2", "<b> array"), Query("q3", "unjudged")]
QRELS = [Qrel("q1", "d1", 1), Qrel("q2", "d3", 1), Qrel("q3", "d3", 0)]
#        unk graph short path node edge the array <b>
WEIGHTS = [[0, 0.9, 1.5, 1.25, 0.5, 0, 0.004, 0, 0], [0, 0, 0, 0, 0, 0, 0, 2.0, 0], [0, 1.0, 0, 0, 0.75, 0.25, 0, 0, 0]]


@pytest.fixture
def retriever(tmp_path: Path) -> Path:
    """Folders `collection`, `model`, `run`, `bm25`, `shard-0` and `shard-1` of a tiny word-level retriever."""
    for name in ("collection", "model", "run", "bm25", "shard-0", "shard-1"):
        (tmp_path / name).mkdir()
    write_collection(tmp_path / "collection", DOCUMENTS, QUERIES, {"test": QRELS})
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[UNK]"])
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    weights = {word: 0.0 if word == "[UNK]" else 1.0 + index / 2 for index, word in enumerate(WORDS)}
    write_json(tmp_path / "model" / "query_weights.json", weights | {"the": 0.25})
    matrix = sparse.csr_matrix(np.array(WEIGHTS, dtype=np.float32))
    write_shard(tmp_path / "shard-0", Shard(["d1"], matrix[:1]))
    write_shard(tmp_path / "shard-1", Shard(["d2", "d3"], matrix[1:]))
    write_run(tmp_path / "run" / "run.trec", {"q1": [Hit("d1", 9.0), Hit("d3", 2.0)], "q2": [Hit("d2", 3.0)]})
    write_run(tmp_path / "bm25" / "run.trec", {"q1": [Hit("d3", 2.0), Hit("d1", 1.0)]})
    return tmp_path


def test_the_page(retriever: Path) -> None:
    shards = [retriever / "shard-0", retriever / "shard-1"]
    spec = {
        "queries": 5,
        "systems": ["x"],
        "labels": {"x": "System <X>", "bm25": "BM25"},
        "baseline": "bm25",
        "collection": "tiny",
        "split": "test",
        "relevance": 1,
        "query_lengths": {"x": 3},
    }
    inputs = {"run_0": retriever / "run", "vectors_0": shards, "model_0": retriever / "model"}
    manifest = call(
        "explain_queries",
        retriever / "out",
        spec,
        collection=retriever / "collection",
        run_baseline=retriever / "bm25",
        **inputs,
    )
    assert sorted(manifest["facts"]["queries"]) == ["q1", "q2"]  # q3 has nothing relevant
    text = (retriever / "out" / "explain.html").read_text()
    assert "<X>" not in text
    assert "System &lt;X&gt;" in text
    assert "Shortest &lt;path&gt;" in text
    assert "<b>&lt;b&gt;</b><small>5.00</small>" in text
    assert "<b>path</b>" not in text  # the fourth token of a query that keeps three
    assert 'Best relevant document: <span class="up">rank 1</span>; BM25: rank 2.' in text
    assert "not among the 1 found" in text
    assert 'title="node: not in the text"' in text
    assert '<div class="term matched" title="shortest: in the text">' in text
    assert '<div class="term expansion matched" title="graph: not in the text">' in text
    assert " …</p>" in text
    assert "http" not in text


def test_queries_are_chosen_by_hash_among_the_answerable() -> None:
    queries = [Query(str(number), "") for number in range(50)]
    qrels = [Qrel(query.id, "d", number % 2) for number, query in enumerate(queries)]
    chosen = choose_queries(queries, qrels, count=3)
    assert chosen == choose_queries(queries[::-1], qrels[::-1], count=3)
    assert all(int(query.id) % 2 for query in chosen)
    assert choose_queries(queries, qrels, count=0) == []


def test_vectors_are_read_strongest_first_and_must_be_there(retriever: Path) -> None:
    shards = [retriever / "shard-0", retriever / "shard-1"]
    found = read_vectors(shards, {"d3"}, WORDS)
    assert list(found["d3"].items()) == [("graph", 1.0), ("node", 0.75), ("edge", 0.25)]
    with pytest.raises(UserError, match="'d9' of the run has no vector"):
        read_vectors(shards, {"d9"}, WORDS)


def test_what_made_the_score_is_shown_first() -> None:
    text = [Term(f"t{place}", 30 - place, expansion=False, matched=place in (2, 9)) for place in range(10)]
    expansions = [Term(f"x{place}", 15 - place, expansion=True, matched=place == 8) for place in range(9)]
    shown = [term.token for term in strongest([*text, *expansions])]
    assert shown == ["t2", "t9", "x8", "t0", "t1", "t3", "t4", "t5", "x0", "x1", "x2", "x3"]


def test_best_rank() -> None:
    hits = [Hit("a", 2.0), Hit("b", 1.0)]
    assert best_rank(hits, {"b", "c"}) == 2
    assert best_rank(hits, {"c"}) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [("文 " + "字" * 300, "文 " + "字" * (SNIPPET - 2)), ("one two " * 40, ("one two " * 40)[: SNIPPET - 1].strip())],
)
def test_a_long_text_is_cut_between_words_where_there_are_spaces(text: str, shown: str) -> None:
    found = Found(1, 1.0, Document("d", "", text), False, 0, [])
    answers = [Answer("x", {}, None, 1, [found])]
    written = page([Explained(Query("q", "?"), 1, None, answers)], title="t", collection="c")
    assert f'<p class="snippet">{shown} …</p>' in written


def test_a_page_without_queries_says_so() -> None:
    assert "No query was asked for" in page([], title="t", collection="c")


def test_the_caption_holds_for_every_page() -> None:
    """Queries may be the best and the worst ones, and the baseline any system, or none."""
    caption = (Path(__file__).parents[1] / "workflow" / "report" / "explain.rst").read_text()
    assert not [word for word in ("hash", "extremes", "BM25") if word in caption]


def test_sparsity_counts_what_the_index_holds(retriever: Path) -> None:
    shards = [retriever / "shard-0", retriever / "shard-1"]
    spec = {"kind": "experiment", "split": "test", "query_length": 64, "quantisation": 100}
    inputs = {"vectors": shards, "model": retriever / "model", "collection": retriever / "collection"}
    manifest = call("measure_sparsity", retriever / "sparsity", spec, **inputs)
    found = json.loads((retriever / "sparsity" / "sparsity.json").read_text())
    # Weight 0.004 of "the" rounds to 0. Queries: {the, shortest, graph, path}, {<b>, array}, {}: "unjudged" is unknown.
    shared = (2 / 3 + 1 / 3 + 1 / 3 + 1 / 3) / 3  # graph 1/3 * 2/3, shortest 1/3 * 1/3, path, array
    assert found == pytest.approx(
        {
            "FLOPS": shared,
            "tokens/doc": 8 / 3,
            "tokens/query": 2,
            "documents": 3,
            "postings": 8,
            "postings/query": 3 * shared,
        }
    )
    assert manifest["facts"]["queries"] == 3


def test_sparsity_is_counted_in_parts_whatever_the_shards(retriever: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of MS MARCO has 190 million postings, and a copy of them takes gigabytes."""
    parts: list[int] = []

    def quantised(matrix: Any, quantisation: int) -> Any:
        parts.append(matrix.nnz)
        return quantise(matrix, quantisation)

    monkeypatch.setitem(vectors.read_chunks.__kwdefaults__, "postings", 1)
    monkeypatch.setattr(vectors, "quantise", quantised)
    shards = [retriever / "shard-0", retriever / "shard-1"]
    spec = {"kind": "experiment", "split": "test", "query_length": 64, "quantisation": 100}
    inputs = {"vectors": shards, "model": retriever / "model", "collection": retriever / "collection"}
    assert call("measure_sparsity", retriever / "sparsity", spec, **inputs)["facts"]["documents"] == 3
    assert len(parts) == 4  # a document each, and the queries


def test_sparsity_of_bm25_counts_the_queries_of_the_split(retriever: Path) -> None:
    cached = retriever / "embeddings"
    cached.mkdir()
    more = [*QUERIES, Query("q4", "of another split")]
    write_collection(retriever / "collection", DOCUMENTS, more, {"test": QRELS[:2], "train": [Qrel("q4", "d1", 1)]})
    save_matrix(cached, "queries", sparse.csr_matrix(np.array([[1, 1], [0, 2], [1, 1], [1, 1]], dtype=np.float32)))
    save_matrix(cached, "documents", sparse.csr_matrix(np.array([[1, 0], [1, 3], [0, 0]], dtype=np.float32)))
    spec = {"kind": "bm25", "split": "test"}
    call("measure_sparsity", retriever / "out", spec, vectors=cached, collection=retriever / "collection")
    found = json.loads((retriever / "out" / "sparsity.json").read_text())
    # Two queries, p_q = (1/2, 1); p_d = (2/3, 1/3).
    assert found == pytest.approx(
        {"FLOPS": 2 / 3, "tokens/doc": 1, "tokens/query": 1.5, "documents": 3, "postings": 3, "postings/query": 2}
    )
