"""Long jobs in blocks that survive a stop: what a killed run has finished is not computed again."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sparsemill.files import sync_tree
from sparsemill.teachers.cache import Matrix, open_matrix, save_matrix

Item = TypeVar("Item")


def blocks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block


def finished(folder: Path, names: str) -> int:
    """How many blocks an earlier run of the job kept under `names-NUMBER`."""
    return sum(1 for _ in folder.glob(f"{names}-*"))


def kept(folder: Path, name: str, make: Callable[[], Any]) -> Matrix:
    """The matrix that an earlier run of the job kept under `name`, or the one that `make` returns, kept for the next.

    Args:
        folder: belongs to one spec and its inputs; survives a killed run.
        name: of the block.
        make: computes the block, an array or a CSR matrix.
    """
    final = folder / name
    if not final.exists():
        matrix = make()
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
        try:
            save_matrix(temporary, "block", matrix)
            sync_tree(temporary)
            temporary.replace(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return open_matrix(final, "block")
