"""How glibc keeps memory that one batch frees for the next one, and gives back what batches cannot use again."""

import ctypes
import os

KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(256 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""Environment of jobs. By itself glibc gives large blocks back, and the system clears them each time anew."""


def keep_freed_memory() -> None:
    """Set `KEEP_FREED_MEMORY` for processes started from here on, where the environment does not say otherwise."""
    for name, value in KEEP_FREED_MEMORY.items():
        os.environ.setdefault(name, value)


def give_back_freed_memory() -> None:
    """Return free pages to the system, also those between blocks in use; nothing where the C library is not glibc.

    Batches differ in size, and where a block fits no gap that an earlier one left, the heap grows with every batch.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
