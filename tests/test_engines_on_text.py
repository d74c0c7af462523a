"""Every local engine gives the exact engine's top 1,000 on real collections, up to what it is stated to lose."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from oracle import Vectors, check_same, word_piece_vectors, write_vectors
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact
from sparsemill.retrieval.recall import recall
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.seismic_index import SeismicIndex, build_seismic
from sparsemill.retrieval.vectors import Shard, quantise, write_shard

Q, DEPTH = 100, 1000
SEISMIC = {"n_postings": 450, "centroid_fraction": 0.4, "summary_energy": 0.9}


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "cranfield"])
def test_exact_engines_find_the_same_thousand(shared: Path, tmp_path: Path, name: str) -> None:
    vectors = word_piece_vectors(shared, name, queries=60)
    shards = write_vectors(tmp_path / "vectors", vectors)
    expected = build_exact(folder(tmp_path / "exact"), shards)
    exact = ExactIndex(tmp_path / "exact").search(vectors.queries, DEPTH)
    dense = (vectors.queries.astype(np.float64) @ vectors.documents.T.astype(np.float64)).toarray()
    for row, hits in zip(dense, exact, strict=True):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(row[row > 0])[::-1][:DEPTH], rel=1e-5)
    assert build_exact(folder(tmp_path / "blocked"), shards, postings="blocked") == expected
    check_same(ExactIndex(tmp_path / "blocked").search(vectors.queries, DEPTH), exact, tolerance=1 / 255)
    vocabulary = [f"t{column}" for column in range(vectors.documents.shape[1])]
    assert build_impact(folder(tmp_path / "lucene"), shards, vocabulary=vocabulary, quantisation=Q) == expected
    lucene = LuceneImpact(tmp_path / "lucene").search(vectors.queries, DEPTH)
    rounded = [[Hit(hit.doc_id, hit.score / Q**2) for hit in hits] for hits in lucene]
    check_same(rounded, exact, tolerance=1.2 / Q)
    # With both sides rounded as Lucene's are, the exact engine finds the very same.
    whole = Vectors(vectors.ids, quantise(vectors.documents, Q).astype(np.float32), vectors.queries)
    build_exact(folder(tmp_path / "whole"), write_vectors(tmp_path / "rounded", whole))
    asked = quantise(vectors.queries, Q).astype(np.float32)
    assert ExactIndex(tmp_path / "whole").search(asked, DEPTH) == lucene


@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "cranfield"])
def test_seismic_finds_nearly_all_of_the_best(shared: Path, tmp_path: Path, name: str) -> None:
    vectors = word_piece_vectors(shared, name, queries=60)
    shards = write_vectors(tmp_path / "vectors", vectors)
    assert build_seismic(folder(tmp_path / "seismic"), shards, SEISMIC) == build_exact(
        folder(tmp_path / "exact"), shards
    )
    exact = ExactIndex(tmp_path / "exact").search(vectors.queries, 10)
    for cut, factor, least in ((8, 1.0, 0.95), (100, 0.1, 0.99)):
        found = SeismicIndex(tmp_path / "seismic", query_cut=cut, heap_factor=factor).search(vectors.queries, 10)
        assert recall(found, exact) >= least
        for mine, true in zip(found, exact, strict=True):
            scores = dict(true)
            assert all(hit.score == pytest.approx(scores.get(hit.doc_id, hit.score), rel=2e-3) for hit in mine)
            assert [hit.score for hit in mine] == sorted((hit.score for hit in mine), reverse=True)


def test_seismic_by_hand_with_an_empty_document_and_query(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [3, 1, 0]], dtype=np.float32))
    write_shard(folder(tmp_path / "v"), Shard(["a b", "empty", "é"], matrix))
    assert build_seismic(folder(tmp_path / "s"), [tmp_path / "v"], SEISMIC) == (3, 4)
    engine = SeismicIndex(tmp_path / "s", query_cut=3, heap_factor=0.5)
    queries = sparse.csr_matrix(np.array([[1, 1, 1], [0, 0, 0], [0, 0, 1]], dtype=np.float32))
    assert engine.search(queries, 5) == [[Hit("é", 4.0), Hit("a b", 3.0)], [], [Hit("a b", 2.0)]]
    assert engine.statistics() == (3, 4)
    with pytest.raises(UserError, match="2 columns, but the index has 3"):
        engine.search(sparse.csr_matrix((1, 2), dtype=np.float32), 5)
    with pytest.raises(UserError, match="no vectors to index"):
        build_seismic(folder(tmp_path / "none"), [], SEISMIC)


def test_seismic_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "seismic", None)
    write_shard(folder(tmp_path / "v"), Shard(["a"], sparse.csr_matrix(np.ones((1, 1), dtype=np.float32))))
    with pytest.raises(UserError, match="pip install 'sparsemill"):
        build_seismic(folder(tmp_path / "s"), [tmp_path / "v"], SEISMIC)


def test_seismic_refuses_weights_that_half_precision_does_not_hold(tmp_path: Path) -> None:
    for number, (weight, told) in enumerate({65504: "", 70000: "a weight of 70000 is above 65504"}.items()):
        matrix = sparse.csr_matrix(np.array([[weight, 1]], dtype=np.float32))
        write_shard(folder(tmp_path / f"v{number}"), Shard(["a"], matrix))
        with pytest.raises(UserError, match=told) if told else nullcontext():
            build_seismic(folder(tmp_path / f"s{number}"), [tmp_path / f"v{number}"], SEISMIC)


def test_recall_by_hand() -> None:
    exact = [[Hit("a", 3), Hit("b", 2)], [], [Hit("c", 1)]]
    found = [[Hit("b", 2), Hit("x", 1)], [Hit("x", 1)], [Hit("c", 1)]]
    assert recall(found, exact) == 0.75
    with pytest.raises(UserError, match="no query has hits"):
        recall([[]], [[]])
