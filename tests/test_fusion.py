"""Runs by hand: fusion, exhaustive dense search, self hits and the sidecar."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from test_collect import call

from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.evaluation.measures import evaluate
from sparsemill.files import read_json
from sparsemill.retrieval import dense
from sparsemill.retrieval.dense import search_dense
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.fusion import fuse
from sparsemill.retrieval.runs import Hit, Run, read_run
from sparsemill.retrieval.sidecar import remove_self_hits, separate_ties, write_described_run
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.teachers.cache import EmbeddingCache, save_matrix

ONE: Run = {"q": [Hit("a", 5.0), Hit("b", 3.0), Hit("c", 1.0)], "only": [Hit("z", 2.0), Hit("y", 1.0)]}
TWO: Run = {"q": [Hit("d", 30.0), Hit("b", 20.0), Hit("a", 10.0)], "none": []}


def test_fusion_by_hand() -> None:
    # minmax over a b c d: one 1, .5, 0, 0 (d as its last); two 0, .5, 0, 1 (c as its last)
    assert fuse([ONE, TWO], normalisation="minmax", weights=None, k=3)["q"] == [
        Hit("a", 0.5),
        Hit("b", 0.5),
        Hit("d", 0.5),
    ]


def test_fusion_with_weights_and_depth() -> None:
    found = fuse([ONE, TWO], normalisation="minmax", weights=[0.25, 0.5], k=2)["q"]
    assert found == [Hit("d", 0.5), Hit("b", 0.375)]


def test_fusion_of_raw_scores() -> None:
    found = fuse([ONE, TWO], normalisation="none", weights=[1, 1], k=3)["q"]
    assert found == [Hit("d", 31.0), Hit("b", 23.0), Hit("a", 15.0)]


def test_what_a_run_with_room_left_lacks_counts_as_nothing() -> None:
    """Teachers leave out documents without a token of the query; beside the one that has some they are worth 0."""
    both: Run = {"q": [Hit("c", 2.0), Hit("b", 1.0), Hit("a", 1.0)]}
    for short in ([Hit("a", 9.0)], [Hit("a", 9.0), Hit("b", 4.5)]):
        filled = [*short, *(Hit(name, 0.0) for name in ("a", "b", "c")[len(short) :])]
        for method in ("minmax", "zscore", "rank", "none"):
            left, whole = (
                fuse([{"q": hits}, both], normalisation=method, weights=None, k=3) for hits in (short, filled)
            )
            assert left == whole
    assert fuse([{"q": [Hit("a", 9.0)]}, both], normalisation="minmax", weights=None, k=3)["q"] == [
        Hit("a", 0.5),
        Hit("c", 0.5),
        Hit("b", 0.0),
    ]


def test_fusion_keeps_queries_that_one_run_lacks() -> None:
    fused = fuse([ONE, TWO], normalisation="minmax", weights=None, k=10)
    assert list(fused) == ["q", "only", "none"]
    assert fused["only"] == [Hit("z", 0.5), Hit("y", 0.0)]
    assert fused["none"] == []


def test_fusion_of_one_run_keeps_its_order() -> None:
    for method in ("minmax", "zscore", "rank", "none"):
        assert [hit.doc_id for hit in fuse([ONE], normalisation=method, weights=None, k=10)["q"]] == ["a", "b", "c"]


def brute_force(cache: EmbeddingCache, rows: list[int], ids: list[str], k: int) -> list[list[Hit]]:
    scores = cache.matrix(rows, range(len(ids)))
    return [
        sorted(
            (Hit(name, float(value)) for name, value in zip(ids, row, strict=True)), key=lambda h: (-h.score, h.doc_id)
        )[:k]
        for row in scores
    ]


@pytest.mark.parametrize(("queries", "documents"), [(1, 1), (2, 4), (3, 7), (100, 100)])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_search_equals_brute_force_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, queries: int, documents: int, k: int
) -> None:
    monkeypatch.setattr(dense, "QUERIES", queries)
    monkeypatch.setattr(dense, "DOCUMENTS", documents)
    generator = np.random.default_rng(0)
    # few values, so that many documents tie, and ids that are not in the order of rows
    cache = EmbeddingCache(*(generator.integers(-1, 2, size=(n, 3)).astype(np.float32) for n in (6, 30)))
    ids = [f"d{number}" for number in generator.permutation(30)]
    rows = [4, 0, 5, 1]
    found = dict(search_dense(cache, rows, query_ids=["e", "a", "f", "b"], document_ids=ids, k=k))
    assert list(found) == ["e", "a", "f", "b"]
    assert list(found.values()) == brute_force(cache, rows, ids, k)


def test_ties_at_the_cut_go_to_the_smaller_id() -> None:
    cache = EmbeddingCache(np.ones((1, 1), dtype=np.float32), np.ones((50, 1), dtype=np.float32))
    ids = [f"{number:02}" for number in reversed(range(50))]
    found = dict(search_dense(cache, [0], query_ids=["q"], document_ids=ids, k=3))
    assert [hit.doc_id for hit in found["q"]] == ["00", "01", "02"]


def test_a_block_of_queries_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "QUERIES", 2)
    cache = EmbeddingCache(np.ones((4, 1), dtype=np.float32), np.ones((3, 1), dtype=np.float32))
    asked: list[list[int]] = []

    class Counted(EmbeddingCache):
        def matrix(self, queries: Any, documents: Any) -> Any:
            asked.append(queries)
            return super().matrix(queries, documents)

    found = search_dense(
        Counted(cache.queries, cache.documents), range(4), query_ids=list("abcd"), document_ids=list("xyz"), k=1
    )
    assert next(found) == ("a", [Hit("x", 1.0)])
    assert asked == [[0, 1]]


def test_a_sparse_teacher_finds_what_shares_a_token_as_the_exact_engine_does(tmp_path: Path) -> None:
    vectors = sparse.random(30, 12, density=0.15, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    queries = sparse.vstack([vectors[:5], sparse.csr_matrix((1, 12), dtype=np.float32)], format="csr")
    ids = [f"d{number:02}" for number in range(30)]
    for name in ("embeddings", "collection", "shard", "index"):
        (tmp_path / name).mkdir()
    save_matrix(tmp_path / "embeddings", "queries", queries)
    save_matrix(tmp_path / "embeddings", "documents", vectors)
    texts = [Query(f"q{row}", "a") for row in range(6)]
    judged = {"test": [Qrel(query.id, "d00", 1) for query in texts]}
    write_collection(tmp_path / "collection", [Document(name, "", "a") for name in ids], texts, judged)
    place = {"system": "x", "variant": "fixed", "collection": "c", "engine": "exact", "kind": "sparse"}
    spec = place | {"split": "test", "depth": 30, "self_hits": "keep"}
    inputs = {name: tmp_path / name for name in ("embeddings", "collection")}
    facts = call("search_dense", tmp_path / "run", spec, **inputs)["facts"]
    write_shard(tmp_path / "shard", Shard(ids, vectors))
    build_exact(tmp_path / "index", [tmp_path / "shard"])
    exact = ExactIndex(tmp_path / "index").search(queries, 30)
    found = read_run(tmp_path / "run" / "run.trec")
    assert facts["queries_without_results"] == exact.count([]) > 0
    for query, hits in zip(texts, exact, strict=True):
        assert {hit.doc_id for hit in found.get(query.id, [])} == {hit.doc_id for hit in hits}


def test_self_hits_are_dropped_before_the_cut() -> None:
    run = {"a": [Hit("a", 3.0), Hit("b", 2.0), Hit("c", 1.0)], "x": [Hit("b", 2.0), Hit("a", 1.0)]}
    assert dict(remove_self_hits(run.items(), depth=2, drop=True)) == {
        "a": [Hit("b", 2.0), Hit("c", 1.0)],
        "x": [Hit("b", 2.0), Hit("a", 1.0)],
    }
    assert dict(remove_self_hits(run.items(), depth=2, drop=False))["a"] == [Hit("a", 3.0), Hit("b", 2.0)]


def test_ties_are_lowered_by_single_steps() -> None:
    """The step below 1 is taken already: a lowered score pushes what it meets."""
    one = np.float32(1)
    first, second, third = (float(one - number * np.float32(2**-24)) for number in (1, 2, 3))
    scores = [2.0, 1.0, 1.0, 1.0, first, 0.5, 0.5, -1.0, -1.0]
    found = separate_ties([Hit(f"d{number}", score) for number, score in enumerate(scores)])
    assert [hit.doc_id for hit in found] == [f"d{number}" for number in range(len(scores))]
    halved = float(np.nextafter(np.float32(0.5), np.float32(0)))
    lowest = float(np.nextafter(np.float32(-1), np.float32(-2)))
    assert [hit.score for hit in found] == [2.0, 1.0, first, second, third, 0.5, halved, -1.0, lowest]
    apart = [Hit("x", 3.0), Hit("a", 1.0)]
    assert separate_ties(apart) == apart
    assert separate_ties([]) == []


def test_a_written_run_is_evaluated_in_its_own_order(tmp_path: Path) -> None:
    """trec_eval puts tied documents in descending order of their ids."""
    write_described_run(tmp_path, {"q": [Hit("a", 0.25), Hit("c", 0.25), Hit("b", 0.25)]}, {})
    found = evaluate(read_run(tmp_path / "run.trec"), [Qrel("q", "c", 1)], ["MRR@10"])
    assert found.means == {"MRR@10": 0.5}
    tied = evaluate({"q": [Hit("a", 0.25), Hit("c", 0.25), Hit("b", 0.25)]}, [Qrel("q", "c", 1)], ["MRR@10"])
    assert tied.means == {"MRR@10": 1.0}


def test_sidecar_says_what_the_run_is_of(tmp_path: Path) -> None:
    spec = {"system": "s", "variant": "seed-0", "collection": "c", "engine": "exact", "depth": 10, "device": "cpu"}
    described = write_described_run(tmp_path, {"q": [Hit("a", 0.1)], "r": []}, spec)
    assert described == read_json(tmp_path / "run.json")
    assert described == {
        "system": "s",
        "variant": "seed-0",
        "collection": "c",
        "engine": "exact",
        "depth": 10,
        "queries": 2,
        "queries_without_results": 1,
    }
    assert [hit.doc_id for hit in read_run(tmp_path / "run.trec")["q"]] == ["a"]
