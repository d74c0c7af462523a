"""Cached scores and embeddings of teachers, by id; what training reads instead of running a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Scores = NDArray[np.float32]
FILES = {"dense": ".npy", "sparse": ".npz"}


class Matrix(Protocol):
    """Rows by index: a memory-mapped array or a CSR matrix."""

    shape: Any

    def __getitem__(self, rows: Any) -> Any: ...


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of a siamese teacher for all queries and documents of a collection.

    Attributes:
        queries: [queries, dimensions] array or CSR matrix, float32, in the collection's order.
        documents: [documents, dimensions], likewise.
    """

    queries: Matrix
    documents: Matrix

    def matrix(self, queries: Sequence[int], documents: Sequence[int]) -> Scores:
        """Scores of every query row with every document row: [len(queries), len(documents)], float32."""
        product = self.queries[list(queries)] @ self.documents[list(documents)].T
        dense = product.toarray() if sparse.issparse(product) else np.asarray(product)
        return np.asarray(dense, dtype=np.float32)

    def pairs(self, queries: Sequence[int], documents: Sequence[int]) -> Scores:
        """Scores of row pairs: [len(queries)], float32; both sequences have one length."""
        left, right = self.queries[list(queries)], self.documents[list(documents)]
        if sparse.issparse(left):
            return np.asarray(left.multiply(right).sum(axis=1), dtype=np.float32).ravel()
        return np.asarray(np.einsum("nd,nd->n", left, right), dtype=np.float32)


def save_matrix(folder: Path, name: str, matrix: Any) -> None:
    """Write embeddings as `<name>.npz` (CSR) or `<name>.npy` (dense), float32."""
    if sparse.issparse(matrix):
        sparse.save_npz(folder / f"{name}.npz", sparse.csr_matrix(matrix, dtype=np.float32), compressed=False)
    else:
        np.save(folder / f"{name}.npy", np.ascontiguousarray(matrix, dtype=np.float32))


def _load_matrix(folders: Sequence[Path], name: str) -> Matrix:
    parts: list[Any] = []
    for folder in folders:
        dense = folder / f"{name}.npy"
        if dense.exists():
            parts.append(np.load(dense, mmap_mode="r"))
        else:
            parts.append(sparse.load_npz(folder / f"{name}.npz").tocsr())
    if len(parts) == 1:
        only: Matrix = parts[0]
        return only
    joined: Matrix = sparse.vstack(parts, format="csr") if sparse.issparse(parts[0]) else np.concatenate(parts)
    return joined


def load_embeddings(folders: Sequence[Path]) -> EmbeddingCache:
    """Open the embeddings of a teacher.

    Args:
        folders: shards in order; each holds a contiguous part of the documents, the first one all queries.
    """
    return EmbeddingCache(_load_matrix(folders[:1], "queries"), _load_matrix(folders, "documents"))
