"""Files of embeddings: what is saved, joined, mapped and multiplied."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from random_vectors import matrices
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.teachers.cache import EmbeddingCache, load_embeddings, save_joined, save_matrix
from sparsemill.teachers.mapped_csr import MappedCsr


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_cache_scores_by_hand(form: str) -> None:
    queries, documents = matrices()
    cache = EmbeddingCache(*(sparse.csr_matrix(m) if form == "sparse" else m for m in (queries, documents)))
    rows, columns = [3, 0, 3], [8, 8, 1, 0]
    found = cache.matrix(rows, columns)
    assert found.dtype == np.float32
    assert np.allclose(found, [[queries[r] @ documents[c] for c in columns] for r in rows], atol=1e-5)
    pairs = cache.pairs([3, 0, 3, 2], columns)
    assert pairs.dtype == np.float32
    assert np.allclose(
        pairs, [queries[r] @ documents[c] for r, c in zip([3, 0, 3, 2], columns, strict=True)], atol=1e-5
    )


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 3, 3, 9]])
def test_shards_of_documents_are_joined(tmp_path: Path, form: str, cuts: list[int]) -> None:
    queries, documents = matrices()
    shape = sparse.csr_matrix if form == "sparse" else np.asarray
    folders = []
    for number, (start, end) in enumerate(pairwise(cuts)):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        save_matrix(folders[-1], "documents", shape(documents[start:end]))
    save_matrix(folders[0], "queries", shape(queries))
    cache = load_embeddings(folders)
    assert np.allclose(cache.matrix(range(5), range(9)), queries @ documents.T, atol=1e-5)
    mixed = [8, 1, 5, 0, 3, 8]
    assert np.allclose(cache.matrix(range(5), mixed), queries @ documents[mixed].T, atol=1e-5)


@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 3, 3, 9]])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_joined_files_are_those_of_the_whole(tmp_path: Path, form: str, cuts: list[int]) -> None:
    """Byte for byte, whether a matrix was made at once or block by block."""
    shape = sparse.csr_matrix if form == "sparse" else np.asarray
    _, whole = matrices()
    save_matrix(tmp_path, "whole", shape(whole))
    save_joined(tmp_path, "joined", [shape(whole[start:end]) for start, end in pairwise(cuts)])
    ending = ".npz" if form == "sparse" else ".npy"
    assert (tmp_path / f"joined{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


def test_one_sparse_block_is_held_while_blocks_are_joined(tmp_path: Path) -> None:
    block = sparse.random(500, 400, density=0.5, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    parts = []
    for number in range(10):
        save_matrix(tmp_path, str(number), block)
        parts.append(MappedCsr(tmp_path / f"{number}.npz"))
    tracemalloc.start()
    save_joined(tmp_path, "joined", parts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 8 * block.nnz
    assert (MappedCsr(tmp_path / "joined.npz")[np.arange(4500, 5000)] != block).nnz == 0


def test_a_mapped_matrix_is_the_one_that_was_saved(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(matrices()[1])
    matrix.data[3:5] = 0
    matrix.eliminate_zeros()
    save_matrix(tmp_path, "documents", matrix)
    mapped = MappedCsr(tmp_path / "documents.npz")
    assert mapped.shape == (9, 7)
    for rows in ([], [8], [3, 3, 0, 8], range(9)):
        found, expected = mapped[list(rows)], matrix[list(rows)]
        assert (found != expected).nnz == 0
        assert np.array_equal(found.indices, expected.indices)
        assert found.dtype == np.float32
    assert isinstance(mapped._values, np.memmap)
    save_matrix(tmp_path, "empty", sparse.csr_matrix((3, 7), dtype=np.float32))
    assert MappedCsr(tmp_path / "empty.npz")[[2, 0]].toarray().tolist() == [[0] * 7] * 2


def test_a_matrix_that_cannot_be_mapped(tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "small.npz", sparse.csr_matrix(matrices()[0]), compressed=True)
    with pytest.raises(UserError, match="is compressed"):
        MappedCsr(tmp_path / "small.npz")
    with pytest.raises(UserError, match="no such file"):
        MappedCsr(tmp_path / "none.npz")


def test_matrices_are_saved_in_float32(tmp_path: Path) -> None:
    save_matrix(tmp_path, "queries", np.ones((2, 3)))
    save_matrix(tmp_path, "documents", sparse.csr_matrix(np.ones((2, 3))))
    assert np.load(tmp_path / "queries.npy").dtype == np.float32
    assert sparse.load_npz(tmp_path / "documents.npz").dtype == np.float32
