"""Memory between blocks in use returns to the system, which glibc keeps where jobs tell it to; oneDNN keeps little."""

import os
import platform
import subprocess
import sys

import pytest
import torch

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


SAME_PRODUCT_AGAIN = """
from sparsemill.malloc import keep_few_kernels

keep_few_kernels()
import torch

for rows in [*range(1, 201), 200, 1]:
    torch.ops.mkldnn._linear_pointwise(torch.ones(rows, 8), torch.ones(8, 8), None, "none", [], "")
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN")
@pytest.mark.parametrize(("capacity", "again"), [(None, "cache_miss"), ("1024", "cache_hit")])
def test_few_products_are_kept_unless_the_user_says_otherwise(capacity: str | None, again: str) -> None:
    """oneDNN's own log says whether a product was still there; the last one always is."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN")}
    environment["ONEDNN_VERBOSE"] = "profile_create"
    if capacity is not None:
        environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = capacity
    command = [sys.executable, "-c", SAME_PRODUCT_AGAIN]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    created = [line for line in found.stdout.splitlines() if "create:cache_" in line]
    assert "cache_hit" in created[-2]
    assert again in created[-1]
