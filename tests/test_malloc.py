"""Memory between blocks in use returns to the system, which glibc keeps where jobs tell it to."""

import os
import platform
import subprocess
import sys

import pytest

from sparsemill.malloc import KEEP_FREED_MEMORY

FREE_BETWEEN_BLOCKS = """
from sparsemill.malloc import give_back_freed_memory


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


blocks = [b"x" * (65_000 + number) for number in range(3200)]
full = resident()
blocks = blocks[::32]
kept = resident()
give_back_freed_memory()
print(full, kept, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, which alone has malloc_trim")
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    environment = {**os.environ, **KEEP_FREED_MEMORY}
    command = [sys.executable, "-c", FREE_BETWEEN_BLOCKS]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    full, kept, after = map(int, found.stdout.split())
    assert full - kept < 20 * 2**20
    assert kept - after > 150 * 2**20
