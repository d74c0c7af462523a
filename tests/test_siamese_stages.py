"""A siamese retriever through every stage after training, by the scripts that the rules call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from scipy import sparse
from sentence_transformers.sparse_encoder import SparseEncoder
from test_collect import call
from tiny import TOPICS, rows, save_language_model, texts, topic_words

from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.files import read_json
from sparsemill.models.encoder import save_encoder
from sparsemill.models.siamese import build_siamese
from sparsemill.retrieval.runs import read_run
from sparsemill.study import specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

SYSTEM, COLLECTION = "x", "pydocs"
QUERIES = [Query(f"q{row}", " ".join(topic_words(row)[:2])) for row in range(TOPICS)]


@pytest.fixture(scope="module")
def study() -> Study:
    experiment = {
        "extends": "ours",
        "query_side": "splade",
        "idf": None,
        "query_length": 8,
        "encode_length": 24,
        "prune": {"max_ratio": 0.1},
        "query_prune": {"top_k": 6},
    }
    page = {"collection": COLLECTION, "systems": [SYSTEM], "queries": 2}
    column = {"collection": COLLECTION, "measure": "lucene:latency/bm25@10"}
    table = {"caption": "", "rows": [{"system": SYSTEM}], "columns": [column]}
    options: dict[str, Any] = {"device": "cpu", "encode_precision": "fp32"}
    return load_study(
        options | {"experiments": {SYSTEM: experiment}, "explanations": {"x": page}, "tables": {"x": table}},
        ROOT / "config",
    )


@pytest.fixture(scope="module")
def work(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("stages")
    for name in ("model", "collection"):
        (folder / name).mkdir()
    start = save_language_model(folder / "start")
    encoder = build_siamese(start, None, lexical=False, query_length=8, document_length=24)
    save_encoder(encoder, folder / "model", None)
    documents = [Document(f"d{row}", "", text) for row, text in enumerate(texts())]
    qrels = {"test": [Qrel(f"q{row}", f"d{row}", 1) for row in range(TOPICS)]}
    write_collection(folder / "collection", documents, QUERIES, qrels)
    place = (study, SYSTEM, "seed-0", COLLECTION)
    stage(folder, "encode_corpus", "vectors", specs.encode_corpus(study, SYSTEM, "0"), "model", "collection")
    for engine in ("lucene", "exact"):
        stage(folder, "build_index", engine, specs.build_index(study, SYSTEM, engine), "vectors", "model")
        inputs = ("model", "collection", f"index={engine}")
        stage(folder, "search", f"run-{engine}", specs.search(*place, engine), *inputs)
    stage(folder, "build_index", "bm25", specs.build_index(study, "bm25", "lucene"), "collection")
    stage(folder, "measure_sparsity", "sparsity", specs.measure_sparsity(*place), "vectors", "collection", "model")
    latency = specs.measure_latency(*place) | {"passes": 1}
    stage(folder, "measure_latency", "latency", latency, "index=lucene", "bm25", "collection", "model")
    times = specs.measure_engine_time(*place, "lucene") | {"passes": 1, "queries": 5}
    stage(folder, "measure_engine_time", "times", times, "index=lucene", "baseline=bm25", "collection", "model")
    page = ("collection", "run_0=run-lucene", "vectors_0=vectors", "model_0=model")
    stage(folder, "explain_queries", "explain", specs.explain_queries(study, "x"), *page)
    return folder


def stage(folder: Path, name: str, out: str, spec: dict[str, Any], *inputs: str) -> None:
    """Run the script of a stage; an input is a folder, or `name=folder`."""
    places = {key: folder / (place or key) for key, _, place in (given.partition("=") for given in inputs)}
    call(name, folder / out, spec, **places)


def test_documents_and_queries_are_those_of_the_saved_model_pruned(work: Path) -> None:
    documents = sparse.load_npz(work / "vectors" / "vectors.npz").toarray()
    expected = rows(SparseEncoder(str(work / "model" / "model"), device="cpu").encode_document(texts()))
    expected[expected < 0.1 * expected.max(1, keepdims=True)] = 0
    assert np.allclose(documents, expected, atol=1e-5)


def test_both_engines_find_the_same(work: Path) -> None:
    lucene, exact = (read_run(work / f"run-{engine}" / "run.trec") for engine in ("lucene", "exact"))
    assert len(lucene) == TOPICS
    for query in exact:
        scores = {hit.doc_id: hit.score for hit in lucene[query]}
        shared = [hit for hit in exact[query] if hit.doc_id in scores]
        assert len(shared) >= 8
        assert [scores[hit.doc_id] for hit in shared] == pytest.approx([hit.score for hit in shared], rel=0.01)


def test_measures_count_what_was_searched(work: Path) -> None:
    sparsity = read_json(work / "sparsity" / "sparsity.json")
    assert sparsity["tokens/query"] == 6
    assert sparsity["documents"] == TOPICS
    assert read_json(work / "latency" / "latency.json")["queries"] == TOPICS
    times = read_json(work / "times" / "engine_time.json")
    assert times["lucene:latency/bm25@10"] > 1  # its queries go through an encoder
    assert "<html" in (work / "explain" / "explain.html").read_text(encoding="utf-8")
