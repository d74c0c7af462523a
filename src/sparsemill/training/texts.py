"""Texts by index, fetched lazily from a memory-mapped file, so that a corpus takes no memory of its own."""

import shutil
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sparsemill.files import sync_tree

_NAMES = ("texts.utf8", "offsets.npy")


class Texts(Sequence[str]):
    """Texts one after the other in a file, and where each of them starts.

    Attributes:
        offsets: [texts + 1] int64, in bytes.
    """

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._data, self.offsets = data, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[item] for item in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end = self.offsets[index], self.offsets[index + 1]
        return self._data[start:end].tobytes().decode()


def _map(path: Path) -> Any:
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)


def _write(folder: Path, texts: Iterable[str]) -> None:
    ends = array("q", [0])  # a list of a corpus' integers takes five times as much
    with (folder / _NAMES[0]).open("wb") as file:
        for text in texts:
            ends.append(ends[-1] + file.write(text.encode()))
    np.save(folder / _NAMES[1], np.frombuffer(ends, dtype=np.int64))


def _open(folder: Path) -> Texts:
    return Texts(_map(folder / _NAMES[0]), np.load(folder / _NAMES[1], mmap_mode="r"))


def open_texts(texts: Iterable[str], folder: Path | None) -> Texts:
    """Texts behind a memory map.

    Args:
        texts: read once, if the folder is not there yet.
        folder: keeps the file for other processes and for a resumed run; they may all come at once. None: a
            temporary file, gone with this object.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            _write(Path(name), texts)
            return _open(Path(name))
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _write(written, texts)
            sync_tree(written)
            written.rename(folder)
        except OSError:  # another process was faster; its file says the same
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(written, ignore_errors=True)
    return _open(folder)
