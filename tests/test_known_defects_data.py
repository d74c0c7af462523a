"""Defects of public code in the data, the representations and the search; see `test_known_defects`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from score_tables import Pairs, read_scores, write_scores
from tiny import SPECIAL, TOKENS, WORDS, padded, rows, save_language_model, tokenizer

from sparsemill.data.collection import Document, Query
from sparsemill.ensemble.normalise import normalise
from sparsemill.ensemble.targets import normalise_lists, write_targets
from sparsemill.losses.flops import flops
from sparsemill.models.encoder import build_encoder, query_weights
from sparsemill.models.head import attach_head
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.retriever import retrieve
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.study import specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Ensemble, Study, Training
from sparsemill.teachers.cache import load_embeddings
from sparsemill.training.data import InBatchTargets, load_data
from sparsemill.training.schedule import Record, Schedule
from sparsemill.training.start import build_start, start_weights

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"

# --- rows and targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [2, 3, 6])
def test_every_record_has_a_positive_and_no_other_one(inputs: dict[str, Any], documents: int) -> None:
    # OpenSearch: candidates i and i + 50 are paired, without the positive; LSR: negatives may be positives
    data = load_data(inputs["collection"], inputs["candidates"])
    schedule = Schedule(data.positives, data.negatives, records=100, documents_per_query=documents, seed=0)
    for record in schedule:
        relevant = set(data.positives[record.query])
        assert record.documents[0] in relevant
        assert not relevant & set(record.documents[1:])


def test_the_scale_changes_the_targets(inputs: dict[str, Any], tmp_path: Path) -> None:
    # OpenSearch: score_scale is dead on the train path
    pairs = Pairs(["a", "a"], ["1", "2"])
    found = []
    for scale in (10.0, 30.0):
        folders = [tmp_path / f"{scale}-{name}" for name in ("scores", "targets")]
        for folder in folders:
            folder.mkdir()
        write_scores(folders[0] / "scores.parquet", pairs, np.array([1, 0], dtype=np.float32))
        write_targets(folders[:1], folders[1], weights=None, scale=scale)
        data = load_data(inputs["collection"], inputs["candidates"])
        caches = [load_embeddings(paths) for paths in inputs["embeddings"]]
        whole = InBatchTargets(data, caches, Ensemble(teachers=["one", "two"], scale=scale))
        found.append((read_scores(folders[1:])[1], whole.rows([Record(1, (1, 2)), Record(5, (5, 7))])))
    for small, large in zip(*found, strict=True):
        assert np.allclose(3 * small, large, atol=1e-4)
        assert large.max() > 10
    scales = [{"e": {"extends": "minilm-bm25", "scale": scale}} for scale in (10, 30)]
    experiment = {"x": {"extends": "ours", "ensemble": "e"}}
    studies = [load_study({"ensembles": ensembles, "experiments": experiment}, CONFIG) for ensembles in scales]
    assert specs.finetune(studies[0], "x", "0") != specs.finetune(studies[1], "x", "0")


def test_scores_are_normalised_per_query() -> None:
    # OpenSearch's data script: min and max over a batch of pairs, so that queries of low scores teach nothing
    scores = np.array([[1, 2, 3], [10, 20, 40]], dtype=np.float32)
    assert normalise(scores, "minmax")[0].tolist() == [0, 0.5, 1]
    queries = ["a"] * 3 + ["b"] * 3
    assert np.array_equal(
        normalise_lists(queries, scores.ravel(), method="minmax"), normalise(scores, "minmax").ravel()
    )


def test_teachers_read_texts_at_their_own_length() -> None:
    # OpenSearch: the teacher's maximum length is the student's
    short, long = (
        load_study({"pretrainings": {"p": {"extends": "pre-idf", "document_length": length}}}, CONFIG)
        for length in (64, 99)
    )
    assert specs.pretrain(short, "p", "0") != specs.pretrain(long, "p", "0")
    assert specs.embed_teacher(short, "minilm", "0") == specs.embed_teacher(long, "minilm", "0")
    assert specs.embed_teacher(short, "minilm", "0")["max_length"] >= 128


# --- representations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["binary", "learned", "lexical", "splade"])
def test_the_padding_token_weighs_nothing(tmp_path: Path, side: str) -> None:
    # naver's HF trainer: `if pad_id:` with id 0 leaves [PAD] in every query's bag of words
    start = save_language_model(tmp_path / "start")
    assert tokenizer().pad_token_id == 0
    steps = {"steps": 10, "queries_per_step": 4, "documents_per_query": 3}
    lengths = {"query_length": 8, "document_length": 16}
    spec = Training.model_validate(
        {"training_set": "t", "ensemble": "e", "query_side": side, "idf": "i", **steps, **lengths}
    )
    weights = start_weights(spec, start, None)
    encoder = build_start(spec, start, weights, query_start=None)
    found = rows(encoder.encode_query([" ".join(WORDS[:6]), WORDS[0]]))
    assert found.any(1).all()
    assert not found[:, 0].any()
    if weights is not None:
        assert weights["[PAD]"] == 0
        assert found.sum(1).tolist() == [6, 1]


def test_special_tokens_are_zero_in_training_too(tmp_path: Path) -> None:
    # OpenSearch: document vectors keep special tokens while training, where they cost FLOPS
    start = save_language_model(tmp_path / "start")
    encoder = build_encoder(start, query_weights(start, None), query_length=8, document_length=16)
    attach_head(encoder)
    encoder.train()
    features = padded([[2, 5, 6, 7, 3], [2, 1, 4, 3]])
    vectors = encoder({**features, "task": "document"})["sentence_embedding"]
    assert (vectors > 0).sum() > 20
    assert not vectors[:, : len(SPECIAL)].any()
    flops(vectors).backward()
    (bias,) = (part.grad for part in encoder.parameters() if part.shape == (len(TOKENS),) and part.grad is not None)
    assert not bias[: len(SPECIAL)].any()
    assert bias[len(SPECIAL) :].any()


# --- search ----------------------------------------------------------------------------------------------------------


def test_the_best_documents_are_sorted_and_all_positive_scores_count(tmp_path: Path) -> None:
    # naver: select_topk returns an unsorted top k, and the toy config drops scores below 0.4
    scores = sparse.csr_matrix(np.array([[0.3], [2], [0], [0.001], [5], [1]], dtype=np.float32))
    write_shard(tmp_path, Shard(list("abcdef"), scores))
    build_exact(tmp_path, [tmp_path])
    query = sparse.csr_matrix(np.ones((1, 1), dtype=np.float32))
    for k, ids in ((3, "ebf"), (10, "ebfad")):
        assert [hit.doc_id for hit in ExactIndex(tmp_path).search(query, k)[0]] == list(ids)


def test_the_query_itself_can_be_dropped_without_losing_a_place() -> None:
    # naver and OpenSearch get this right, sentence-transformers does not (ArguAna, Quora)
    def search(texts: list[str], k: int) -> list[list[Hit]]:
        return [[Hit(name, 9.0 - place) for place, name in enumerate("qabc"[:k])] for _ in texts]

    dropped = retrieve(search, [Query("q", "")], depth=3, drop_self_hits=True)
    assert [hit.doc_id for hit in dropped["q"]] == ["a", "b", "c"]
    kept = retrieve(search, [Query("q", "")], depth=3, drop_self_hits=False)
    assert [hit.doc_id for hit in kept["q"]] == ["q", "a", "b"]


def test_titles_are_read_and_runs_are_deep() -> None:
    # OpenSearch: title and text, but 15 results
    assert Document("d", "Title", "text").contents == "Title text"
    assert Study().depth == 1000


def test_nothing_is_killed_or_run_by_a_shell() -> None:
    # OpenSearch: train_ir.py ends with a pkill of every process of a name
    forbidden = re.compile(r"pkill|killall|os\.system|shell=True")
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]
    assert not [path.name for path in files if forbidden.search(path.read_text(encoding="utf-8"))]
