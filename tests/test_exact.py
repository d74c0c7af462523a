"""The exact engine against dense arithmetic, and its index against the vectors."""

from pathlib import Path

import numpy as np
import pytest
from random_vectors import vectors
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval.exact import DOCUMENTS, OFFSETS, SECTION, WEIGHTS, ExactIndex, Postings, build_exact
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.taat import BLOCK
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


def test_postings_by_hand(tmp_path: Path) -> None:
    """The second token is in half of the documents, so all of them have a weight for it; the first is in a quarter."""
    matrix = sparse.csr_matrix(np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0], [0, 4, 0]], dtype=np.float32))
    (tmp_path / "index").mkdir()
    statistics = build_exact(tmp_path / "index", write_shards(tmp_path, matrix, cuts=[1, 3]))
    assert statistics == (4, 3)
    assert np.load(tmp_path / "index" / OFFSETS).tolist() == [[0, 1, 5, 5]]
    assert np.load(tmp_path / "index" / DOCUMENTS)[:1].tolist() == [1]
    assert np.load(tmp_path / "index" / WEIGHTS).tolist() == [1, 2, 0, 0, 4]
    queries = sparse.csr_matrix(np.array([[2, 1, 0], [0, 0, 5], [0, 0, 0], [0, 1, 0]], dtype=np.float32))
    found = ExactIndex(tmp_path / "index").search(queries, 3)
    assert found == [
        [Hit("d3", 4.0), Hit("d0", 2.0), Hit("d1", 2.0)],
        [],
        [],
        [Hit("d3", 4.0), Hit("d0", 2.0)],
    ]


def test_frequent_tokens_have_a_weight_for_all_documents_of_a_section(tmp_path: Path) -> None:
    """Tokens on both sides of a third; one of them is frequent in the first section only."""
    rng, rows = np.random.default_rng(5), SECTION + BLOCK + 5
    shares = np.array([0.01, 0.2, 0.32, 0.35, 0.9, 1.0])
    kept = rng.random((rows, len(shares))) < shares
    kept[SECTION:, 4] = rng.random(rows - SECTION) < 0.1
    matrix = sparse.csr_matrix(np.where(kept, rng.integers(1, 6, size=kept.shape), 0).astype(np.float32))
    (tmp_path / "index").mkdir()
    shards = write_shards(tmp_path, matrix, cuts=[SECTION - 3])
    assert build_exact(tmp_path / "index", shards, chunk=50_000) == (rows, matrix.nnz)
    lengths = np.diff(np.load(tmp_path / "index" / OFFSETS), axis=1)
    assert [(lengths[number] == size).tolist() for number, size in enumerate((SECTION, rows - SECTION))] == [
        [False, False, False, True, True, True],
        [False, False, False, True, False, True],
    ]
    queries = sparse.csr_matrix(np.array([[1, 2, 1, 3, 1, 1], [0, 0, 2, 0, 1, 0]], dtype=np.float32))
    scores = (queries @ matrix.T).toarray()
    for row, hits in zip(scores, ExactIndex(tmp_path / "index").search(queries, rows), strict=True):
        best = np.lexsort((np.arange(rows), -row))
        assert hits == [Hit(f"d{number}", row[number]) for number in best if row[number] > 0]


def test_an_index_of_an_older_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, sparse.csr_matrix(np.eye(3, dtype=np.float32)), cuts=[]))
    np.save(tmp_path / "index" / OFFSETS, np.load(tmp_path / "index" / OFFSETS)[0])
    with pytest.raises(UserError, match="older layout; delete"):
        ExactIndex(tmp_path / "index")


def test_scores_equal_a_dense_product(tmp_path: Path) -> None:
    documents = vectors(700, 300, density=0.05, seed=1)
    queries = vectors(40, 300, density=0.02, seed=2)
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, documents, cuts=[100, 650]))
    dense = queries.toarray().astype(np.float64) @ documents.toarray().astype(np.float64).T
    for row, hits in zip(dense, ExactIndex(tmp_path / "index").search(queries, 50), strict=True):
        numbers = [int(hit.doc_id[1:]) for hit in hits]
        assert len(hits) == min(50, int((row > 0).sum()))
        np.testing.assert_allclose([hit.score for hit in hits], row[numbers], rtol=1e-5)
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(row)[::-1][: len(hits)], rtol=1e-5)


def test_ties_are_in_the_order_of_the_corpus_also_at_the_cut(tmp_path: Path) -> None:
    weights = np.array([1, 3, 0, 2, 3, 2, 2, 0], dtype=np.float32)
    (tmp_path / "index").mkdir()
    build_exact(tmp_path / "index", write_shards(tmp_path, sparse.csr_matrix(weights[:, None]), cuts=[]))
    engine, query = ExactIndex(tmp_path / "index"), sparse.csr_matrix(np.ones((1, 1), dtype=np.float32))
    best = [1, 4, 3, 5, 6, 0]
    for k in (1, 3, 4, 100):
        (hits,) = engine.search(query, k)
        assert hits == [Hit(f"d{row}", float(weights[row])) for row in best[:k]]


@pytest.mark.parametrize("postings", ["float32", "blocked"])
def test_many_documents_and_ties_against_a_stable_sort(tmp_path: Path, postings: Postings) -> None:
    """Several blocks and sections, buffers that overflow with equal scores, several threads and parts."""
    rng, rows = np.random.default_rng(3), SECTION + 2 * BLOCK + 77
    matrix = sparse.random(rows, 30, density=0.2, format="csr", dtype=np.float32, rng=rng)
    # Each token's largest weight is 255, so that the blocked form holds these whole numbers as they are.
    matrix.data = rng.integers(1, 6, size=matrix.nnz).astype(np.float32) * 51
    (tmp_path / "index").mkdir()
    shards = write_shards(tmp_path, matrix, cuts=[70, 70_000])
    assert build_exact(tmp_path / "index", shards, postings=postings, chunk=100_000) == (rows, matrix.nnz)
    queries = sparse.random(13, 30, density=0.3, format="csr", dtype=np.float32, rng=rng)
    queries.data = rng.integers(1, 3, size=queries.nnz).astype(np.float32)
    scores = (queries @ matrix.T).toarray()
    for k in (1, 10, 1000):
        found = ExactIndex(tmp_path / "index").search(queries, k)
        for row, hits in zip(scores, found, strict=True):
            best = np.lexsort((np.arange(rows), -row))[:k]
            assert hits == [Hit(f"d{number}", row[number]) for number in best if row[number] > 0]
        assert ExactIndex(tmp_path / "index", threads=3).search(queries, k) == found


def test_blocked_postings_are_off_by_half_a_level(tmp_path: Path) -> None:
    documents, queries = vectors(700, 300, density=0.05, seed=1), vectors(40, 300, density=0.02, seed=2)
    for name in ("float32", "blocked"):
        (tmp_path / name).mkdir()
    shards = write_shards(tmp_path, documents, cuts=[100])
    assert build_exact(tmp_path / "float32", shards) == build_exact(tmp_path / "blocked", shards, postings="blocked")
    largest = documents.max(axis=0).toarray().ravel()
    dense = (queries @ documents.T).toarray()
    bound = (queries @ sparse.diags_array(largest).tocsr() @ (documents > 0).T.astype(np.float32)).toarray() / 510
    found = ExactIndex(tmp_path / "blocked").search(queries, 1000)
    for row, limit, hits in zip(dense, bound, found, strict=True):
        assert len(hits) == (row > 0).sum()
        assert all(abs(hit.score - row[n := int(hit.doc_id[1:])]) <= limit[n] * 1.001 + 1e-6 for hit in hits)


def test_blocks_lose_no_posting(tmp_path: Path) -> None:
    """Weights below half a level, of a frequent token and of a rare one."""
    matrix = np.zeros((9, 2), dtype=np.float32)
    matrix[:5, 0], matrix[7:, 1] = [1000, 1, 1, 1, 1], [1, 1000]
    (tmp_path / "index").mkdir()
    shards = write_shards(tmp_path, sparse.csr_matrix(matrix), cuts=[])
    assert build_exact(tmp_path / "index", shards, postings="blocked").postings == 7
    found = ExactIndex(tmp_path / "index").search(sparse.csr_matrix(np.eye(2, dtype=np.float32)), 9)
    assert [[hit.doc_id for hit in hits] for hits in found] == [["d0", "d1", "d2", "d3", "d4"], ["d8", "d7"]]


def test_parts_make_the_same_index(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, vectors(300, 50, density=0.1, seed=4), cuts=[120])
    for name, chunk in (("whole", 10**6), ("parts", 7)):
        (tmp_path / name).mkdir()
        build_exact(tmp_path / name, shards, chunk=chunk)
    for name in (OFFSETS, DOCUMENTS, WEIGHTS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


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
