"""The exact engine against dense arithmetic, and its index against the vectors."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval.exact import DOCUMENTS, OFFSETS, WEIGHTS, ExactIndex, best, build_exact
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, quantise, read_shards, write_shard


def write_shards(folder: Path, matrix: sparse.csr_matrix, *, cuts: list[int]) -> list[Path]:
    """Cut `matrix` at the given rows into shard folders; document i is named `d<i>`."""
    folders = []
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, matrix.shape[0]], strict=True)):
        shard = folder / f"shard-{number:04d}"
        shard.mkdir(parents=True)
        write_shard(shard, Shard([f"d{row}" for row in range(start, end)], matrix[start:end]))
        folders.append(shard)
    return folders


def random_vectors(rows: int, columns: int, *, density: float, seed: int) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(rows, columns, density=density, format="csr", dtype=np.float32, rng=rng)
    matrix.data = np.log1p(rng.gamma(2, size=matrix.nnz)).astype(np.float32)
    return matrix


def test_postings_by_hand(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0], [3, 4, 0]], dtype=np.float32))
    (tmp_path / "index").mkdir()
    statistics = build_exact(tmp_path / "index", write_shards(tmp_path, matrix, cuts=[1, 3]))
    assert statistics == (4, 4)
    assert np.load(tmp_path / "index" / OFFSETS).tolist() == [0, 2, 4, 4]
    assert np.load(tmp_path / "index" / DOCUMENTS).tolist() == [1, 3, 0, 3]
    assert np.load(tmp_path / "index" / WEIGHTS).tolist() == [1, 3, 2, 4]
    queries = sparse.csr_matrix(np.array([[2, 1, 0], [0, 0, 5], [0, 0, 0], [0, 1, 0]], dtype=np.float32))
    found = ExactIndex(tmp_path / "index").search(queries, 2)
    assert found == [[Hit("d3", 10.0), Hit("d0", 2.0)], [], [], [Hit("d3", 4.0), Hit("d0", 2.0)]]


def test_scores_equal_a_dense_product(tmp_path: Path) -> None:
    documents = random_vectors(700, 300, density=0.05, seed=1)
    queries = random_vectors(40, 300, density=0.02, seed=2)
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, documents, cuts=[100, 650]))
    dense = queries.toarray().astype(np.float64) @ documents.toarray().astype(np.float64).T
    for row, hits in zip(dense, ExactIndex(tmp_path / "index").search(queries, 50), strict=True):
        numbers = [int(hit.doc_id[1:]) for hit in hits]
        assert len(hits) == min(50, int((row > 0).sum()))
        np.testing.assert_allclose([hit.score for hit in hits], row[numbers], rtol=1e-5)
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(row)[::-1][: len(hits)], rtol=1e-5)


def test_best_breaks_ties_by_position_also_at_the_cut() -> None:
    scores = np.array([1, 3, 0, 2, 3, 2, 2, -1], dtype=np.float32)
    assert best(scores, 3).tolist() == [1, 4, 3]
    assert best(scores, 4).tolist() == [1, 4, 3, 5]
    assert best(scores, 100).tolist() == [1, 4, 3, 5, 6, 0]
    assert best(np.zeros(3, dtype=np.float32), 2).tolist() == []


def test_stored_zeros_are_no_postings(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix((np.array([0.0, 1.0], dtype=np.float32), [0, 1], [0, 2]), shape=(1, 2))
    (tmp_path / "index").mkdir()
    assert build_exact(tmp_path / "index", write_shards(tmp_path, matrix, cuts=[])).postings == 1


def test_a_collection_without_a_single_posting(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, sparse.csr_matrix((2, 3), dtype=np.float32), cuts=[]))
    queries = sparse.csr_matrix(np.ones((1, 3), dtype=np.float32))
    assert ExactIndex(tmp_path / "index").search(queries, 5) == [[]]


def test_broken_vectors_are_refused(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    (tmp_path / "index").mkdir()
    first = write_shards(tmp_path / "a", matrix, cuts=[])
    wider = write_shards(tmp_path / "b", sparse.csr_matrix(np.eye(4, dtype=np.float32)), cuts=[])
    with pytest.raises(UserError, match="there twice"):
        build_exact(tmp_path / "index", [*first, *first])
    with pytest.raises(UserError, match="4 columns, the vocabulary has 3"):
        build_exact(tmp_path / "index", [*first, *wider])
    with pytest.raises(UserError, match="empty"):
        build_exact(tmp_path / "index", [])
    write_shard(first[0], Shard(["d0", "d1", "d2"], -matrix))
    with pytest.raises(UserError, match="negative"):
        build_exact(tmp_path / "index", first)
    write_shard(first[0], Shard(["d0", "d1"], matrix))
    with pytest.raises(UserError, match="2 ids but 3 vectors"):
        build_exact(tmp_path / "index", first)
    (first[0] / "vectors.npz").unlink()
    (first[0] / "ids.txt").write_text("")
    with pytest.raises(UserError, match="encode the corpus first"):
        build_exact(tmp_path / "index", first)


def test_queries_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, sparse.csr_matrix(np.eye(3, dtype=np.float32)), cuts=[]))
    with pytest.raises(UserError, match="2 columns, but the index has 3"):
        ExactIndex(tmp_path / "index").search(sparse.csr_matrix((1, 2), dtype=np.float32), 5)


def test_quantise_rounds_and_drops_zeros() -> None:
    matrix = sparse.csr_matrix(np.array([[0.02, 0.03, 1.234, 0.125]], dtype=np.float32))
    rounded = quantise(matrix, 20)
    assert rounded.toarray().tolist() == [[0, 1, 25, 2]]
    assert rounded.nnz == 3
    assert matrix.nnz == 4


def test_ids_with_odd_line_ends_survive(tmp_path: Path) -> None:
    shard = Shard(["a b", "é日😀", "quote\"'", "back\\slash"], sparse.csr_matrix(np.eye(4, dtype=np.float32)))
    write_shard(tmp_path, shard)
    (read,) = read_shards([tmp_path])
    assert read.ids == shard.ids
    assert (read.matrix != shard.matrix).nnz == 0
