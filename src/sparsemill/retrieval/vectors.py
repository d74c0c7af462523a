"""Shards of sparse vectors: `vectors.npz` (CSR float32 [documents, vocabulary]) beside `ids.txt`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.files import write_text
from sparsemill.teachers.mapped_csr import MappedCsr

VECTORS, IDS = "vectors.npz", "ids.txt"
CHUNK = 2**24
"""Postings in memory at a time: 128 MiB."""
IMPACT_LIMIT = 2**24
"""Below it float32, in which Lucene counts, tells whole numbers apart."""


class Shard(NamedTuple):
    """Consecutive documents of a collection.

    Attributes:
        ids: one per row.
        matrix: CSR float32 [documents, vocabulary]; rows may be empty, weights are not negative.
    """

    ids: list[str]
    matrix: Any


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write one id per line."""
    write_text(path, "".join(f"{identifier}\n" for identifier in ids))


def read_ids(path: Path) -> list[str]:
    """Read what `write_ids` wrote.

    Raises:
        UserError: there is no such file.
    """
    try:
        # Not splitlines(): it also cuts at characters that an id may hold.
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; build the artefact again") from None


def write_shard(folder: Path, shard: Shard) -> None:
    """Write a shard into `folder`, which exists; the matrix is stored uncompressed, to be read fast."""
    sparse.save_npz(folder / VECTORS, sparse.csr_matrix(shard.matrix, dtype=np.float32), compressed=False)
    write_ids(folder / IDS, shard.ids)


def read_shard(folder: Path) -> Shard:
    """Read one shard.

    Raises:
        UserError: a file is missing, ids and rows differ in number, or a weight is negative or not finite.
    """
    ids = read_ids(folder / IDS)
    try:
        matrix = sparse.csr_matrix(sparse.load_npz(folder / VECTORS), dtype=np.float32)
    except FileNotFoundError:
        raise UserError(f"{folder / VECTORS}: no such file; encode the corpus first") from None
    if len(ids) != matrix.shape[0]:
        raise UserError(f"{folder}: {len(ids)} ids but {matrix.shape[0]} vectors; encode the corpus again")
    if not (np.isfinite(matrix.data) & (matrix.data >= 0)).all():
        raise UserError(f"{folder}: a weight is negative or not finite; an inverted index cannot hold it")
    return Shard(ids, matrix)


def read_shards(folders: Sequence[Path], *, vocabulary: int | None = None) -> Iterator[Shard]:
    """Yield shards in the order given, one in memory at a time.

    Args:
        folders: shard folders.
        vocabulary: columns that every shard must have (default: as many as the first).

    Raises:
        UserError: as `read_shard`; or a shard has another vocabulary size.
    """
    for folder in folders:
        shard = read_shard(folder)
        vocabulary = vocabulary or shard.matrix.shape[1]
        if shard.matrix.shape[1] != vocabulary:
            raise UserError(f"{folder}: vectors have {shard.matrix.shape[1]} columns, the vocabulary has {vocabulary}")
        yield shard


def read_chunks(folders: Sequence[Path], *, postings: int = CHUNK, vocabulary: int | None = None) -> Iterator[Shard]:
    """Yield all vectors in the order given, in parts that fit into bounded memory; stored zeros are left out.

    Args:
        folders: shard folders as `write_shard` makes them; their matrices are mapped into memory, not read.
        postings: at most so many in one part, but at least one document.
        vocabulary: columns that every shard must have (default: as many as the first).

    Raises:
        UserError: as `read_shards`.
    """
    for folder in folders:
        ids = read_ids(folder / IDS)
        if not (folder / VECTORS).is_file():
            raise UserError(f"{folder / VECTORS}: no such file; encode the corpus first")
        mapped = MappedCsr(folder / VECTORS)
        rows, columns = mapped.shape
        if len(ids) != rows:
            raise UserError(f"{folder}: {len(ids)} ids but {rows} vectors; encode the corpus again")
        vocabulary = vocabulary or columns
        if columns != vocabulary:
            raise UserError(f"{folder}: vectors have {columns} columns, the vocabulary has {vocabulary}")
        for start, end in mapped.parts(postings):
            matrix = mapped.span(start, end)
            if not (np.isfinite(matrix.data) & (matrix.data >= 0)).all():
                raise UserError(f"{folder}: a weight is negative or not finite; an inverted index cannot hold it")
            matrix.eliminate_zeros()
            yield Shard(ids[start:end], matrix)


def check_distinct(ids: Sequence[str]) -> None:
    """Refuse ids that are there twice.

    Raises:
        UserError: names how many are repeated.
    """
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise UserError(f"{repeated} of {len(ids)} document ids are there twice; is a shard listed twice?")


def round_weights(weights: np.ndarray[Any, Any], quantisation: int) -> np.ndarray[Any, Any]:
    """round(weight * quantisation) as int32, halves to even.

    Raises:
        UserError: one is not below `IMPACT_LIMIT`.
    """
    impacts: np.ndarray[Any, Any] = np.rint(weights.astype(np.float64) * quantisation)
    if impacts.max(initial=0) >= IMPACT_LIMIT:
        raise UserError(
            f"a weight of {weights.max():g} times quantisation {quantisation} is not below {IMPACT_LIMIT}; "
            "lower `quantisation`"
        )
    return impacts.astype(np.int32)


def quantise(matrix: Any, quantisation: int) -> Any:
    """The matrix as CSR int32 of `round_weights`; weights that become 0 are dropped.

    Raises:
        UserError: as `round_weights`.
    """
    rounded = sparse.csr_matrix(matrix, copy=True)
    rounded.data = round_weights(rounded.data, quantisation)
    rounded.eliminate_zeros()
    return rounded
