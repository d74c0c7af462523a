"""Random sparse vectors, and shards of them in new folders."""

from pathlib import Path

import numpy as np
from scipy import sparse

from sparsemill.retrieval.vectors import Shard, write_shard

Q = 100


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


def matrices() -> tuple[np.ndarray, np.ndarray]:
    """Of 5 queries and 9 documents; many entries are 0."""
    generator = np.random.default_rng(0)
    queries, documents = (generator.normal(size=(count, 7)).astype(np.float32) for count in (5, 9))
    queries[np.abs(queries) < 0.8] = 0
    documents[np.abs(documents) < 0.8] = 0
    return queries, documents
