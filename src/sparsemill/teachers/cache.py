"""Cached embeddings of siamese teachers, by row; what training reads instead of running a teacher.

Files are memory-mapped and shards are never copied together: a cache takes the memory of the rows that are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsemill.teachers.mapped_csr import MappedCsr, write_csr

Scores = NDArray[np.float32]
Rows = Sequence[int] | NDArray[np.integer[Any]]
FILES = {"dense": ".npy", "sparse": ".npz"}


class Matrix(Protocol):
    """Rows by index: an array or a CSR matrix, mapped or not."""

    shape: Any

    def __getitem__(self, rows: Any) -> Any: ...


class Stacked:
    """Matrices one below the other.

    Attributes:
        parts: of one width; all arrays or all CSR.
        shape: (rows, columns).
    """

    def __init__(self, parts: Sequence[Matrix]) -> None:
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self._starts[-1]), int(parts[0].shape[1]))

    def __getitem__(self, rows: Any) -> Any:
        """The rows of those indices, in that order, in memory."""
        wanted = np.asarray(rows, dtype=np.int64)
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        order = np.argsort(owner, kind="stable")
        found = [
            part[wanted[owner == number] - self._starts[number]]
            for number, part in enumerate(self.parts)
            if (owner == number).any()
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        if not found:
            return self.parts[0][wanted]
        joined = sparse.vstack(found, format="csr") if sparse.issparse(found[0]) else np.concatenate(found)
        return joined[back]


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of a siamese teacher for all queries and documents of a collection.

    Attributes:
        queries: [queries, dimensions] array or CSR matrix, float32, in the collection's order.
        documents: [documents, dimensions], likewise.
    """

    queries: Matrix
    documents: Matrix

    def matrix(self, queries: Rows, documents: Rows) -> Scores:
        """Scores of every query row with every document row: [len(queries), len(documents)], float32."""
        product = self.queries[list(queries)] @ self.documents[list(documents)].T
        dense = product.toarray() if sparse.issparse(product) else np.asarray(product)
        return np.asarray(dense, dtype=np.float32)

    def pairs(self, queries: Rows, documents: Rows) -> Scores:
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


def open_matrix(folder: Path, name: str) -> Matrix:
    """Map what `save_matrix` wrote."""
    dense = folder / f"{name}{FILES['dense']}"
    found: Matrix = np.load(dense, mmap_mode="r") if dense.exists() else MappedCsr(folder / f"{name}{FILES['sparse']}")
    return found


def save_joined(folder: Path, name: str, parts: Sequence[Matrix]) -> tuple[int, int]:
    """Write matrices one below the other, as `save_matrix` would, without holding them all.

    Returns:
        (rows, columns).
    """
    shape = (sum(part.shape[0] for part in parts), int(parts[0].shape[1]))
    if isinstance(parts[0], np.ndarray):
        target = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        start = 0
        for part in parts:
            target[start : start + part.shape[0]] = part
            start += part.shape[0]
        target.flush()
    else:
        write_csr(folder / f"{name}.npz", parts)
    return shape


def load_embeddings(folders: Sequence[Path]) -> EmbeddingCache:
    """Open the embeddings of a teacher.

    Args:
        folders: shards in order; each holds a contiguous part of the documents, the first one all queries.
    """
    parts = [open_matrix(folder, "documents") for folder in folders]
    return EmbeddingCache(open_matrix(folders[0], "queries"), Stacked(parts) if len(parts) > 1 else parts[0])
