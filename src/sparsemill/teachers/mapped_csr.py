"""A CSR matrix inside an uncompressed `.npz`: written part by part, memory-mapped where it lies."""

import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsemill.errors import UserError

_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member of a zip file: lengths of its name and of its extra field (APPNOTE 4.3.7)."""


def _map_member(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED:
        raise UserError(f"{path}: {info.filename} is compressed and cannot be mapped; delete it and run again")
    file.seek(info.header_offset)
    file.seek(info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))))
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not np.prod(shape):
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=file.tell(), shape=shape)


class MappedCsr:
    """Rows of a CSR matrix that `scipy.sparse.save_npz(..., compressed=False)` wrote.

    Attributes:
        shape: (rows, columns).
        nnz: stored entries.

    Raises:
        UserError: the file is compressed or missing.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive, path.open("rb") as file:
                infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                starts, self._columns, self._values = (
                    _map_member(path, file, infos[name]) for name in ("indptr", "indices", "data")
                )
                self._starts = np.array(starts)
                self.nnz = int(self._starts[-1])
                with np.load(path) as small:
                    self.shape: tuple[int, int] = tuple(small["shape"].tolist())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run its stage again") from None

    def __getitem__(self, rows: Any) -> Any:
        """CSR float32 of the rows of those indices, in that order, in memory."""
        wanted = np.asarray(rows, dtype=np.int64)
        lengths = self._starts[wanted + 1] - self._starts[wanted]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        # Entry k of the output is entry k - bounds[row] of its row.
        places = np.arange(bounds[-1]) + np.repeat(self._starts[wanted] - bounds[:-1], lengths)
        index = self._columns.dtype
        return sparse.csr_matrix(
            (self._values[places], self._columns[places], bounds.astype(index)), shape=(len(wanted), self.shape[1])
        )

    def span(self, start: int, end: int) -> Any:
        """CSR of the rows from `start` to `end`, copied into memory."""
        low, high = int(self._starts[start]), int(self._starts[end])
        bounds = self._starts[start : end + 1] - low
        values, columns = np.array(self._values[low:high]), np.array(self._columns[low:high])
        return sparse.csr_matrix((values, columns, bounds), shape=(end - start, self.shape[1]))

    def parts(self, entries: int) -> Iterator[tuple[int, int]]:
        """Cut the rows into spans of at most so many entries each, but at least one row; start and end of each."""
        start = 0
        while start < self.shape[0]:
            limit = int(self._starts[start]) + entries
            end = max(int(np.searchsorted(self._starts, limit, side="right")) - 1, start + 1)
            yield start, end
            start = end


def write_csr(path: Path, parts: Sequence[Any]) -> None:
    """Write matrices one below the other, byte for byte as `save_npz` would write the whole, one in memory at a time.

    Args:
        path: of the `.npz`.
        parts: CSR float32 of one width, each a `MappedCsr` or in memory; at least one.
    """
    ends = np.cumsum([0, *(part.nnz for part in parts)])
    shape = (sum(part.shape[0] for part in parts), int(parts[0].shape[1]))
    index = np.dtype(np.int32 if max(ends[-1], shape[1]) <= np.iinfo(np.int32).max else np.int64)
    first = np.zeros(1, index)
    bounds = (
        _whole(part).indptr[1:].astype(index) + start.astype(index) for part, start in zip(parts, ends, strict=False)
    )
    columns = (_whole(part).indices.astype(index, copy=False) for part in parts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, "indices", index, int(ends[-1]), columns)
        _write_member(archive, "indptr", index, shape[0] + 1, chain([first], bounds))
        for name, value in (("format", b"csr"), ("shape", shape)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value))
        values = (_whole(part).data for part in parts)
        _write_member(archive, "data", np.dtype(np.float32), int(ends[-1]), values)


def _whole(part: Any) -> Any:
    return part.span(0, part.shape[0]) if isinstance(part, MappedCsr) else part


def _write_member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], length: int, pieces: Iterable[NDArray[Any]]
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).data)
