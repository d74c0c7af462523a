"""What the Triton kernels alone have: packs, descriptors, and code for GPUs that need not be there.

That they equal the naive formula is in `test_max_logits`.
"""

import os
import subprocess
import sys

import pytest
import torch
from test_max_logits import DEVICE, LENGTHS, tensors

from sparsemill.models import max_logits_triton as triton


def test_packs_are_neighbours_that_fit_in_a_tile() -> None:
    assert triton._packs([30, 30, 5, 64, 200, 1, 63, 1], tokens=64) == [0, 2, 3, 4, 5, 7, 8]
    assert triton._packs([200], tokens=64) == [0, 1]


@pytest.mark.parametrize(("width", "start", "copied"), [(64, 0, False), (64, 1, True), (70, 0, True)])
def test_a_matrix_is_copied_only_where_its_rows_start_elsewhere_than_tiles_can(
    width: int, start: int, copied: bool
) -> None:
    matrix = torch.arange(1 + 3 * width, dtype=torch.float32, device=DEVICE)[start : start + 3 * width].view(3, width)
    found = triton._described(matrix, 64, 32).base
    assert (found.data_ptr() != matrix.data_ptr()) == copied
    assert torch.equal(found[:, :width], matrix)
    assert found.stride(0) % 4 == found.data_ptr() % 16 == 0


def test_the_kernel_refuses_double_precision() -> None:
    with pytest.raises(ValueError, match="not float64"):
        triton.max_logits(*tensors(torch.float64), LENGTHS)


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sparsemill.models import max_logits_triton as module

def assembly(capability, kernel, types, **constants):
    source = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constants)
    target = GPUTarget("cuda", capability, 32)
    return compile(source, target=target, options=dict(num_stages=module.HALF.stages)).asm["ptx"]

tokens, vocabulary, width, _ = module.HALF
numbers = dict.fromkeys(["count", "vocabulary", "width"], "i32") | dict.fromkeys(["starts", "packs", "winners"], "*i32")
tiles = dict(hidden=f"tensordesc<bf16[{tokens},{width}]>", weight=f"tensordesc<bf16[{vocabulary},{width}]>")
lists = dict(pointers="*i64", scales="*fp32", indices="*i64", source="*bf16", output="*bf16", width="i32")
for capability, product in ((80, "mma.sync"), (90, "wgmma.mma_async")):
    forward = assembly(
        capability, module._largest, numbers | tiles | dict(bias="*fp32", output="*fp32"), WINNERS=True, WIDEN=False,
        TOKENS=tokens, VOCABULARY=vocabulary, WIDTH=width, GROUP=64,
    )
    backward = assembly(capability, module._add_rows, lists, ENTRIES=module.ENTRIES, WIDTH=module.WIDTH)
    assert product in forward, f"no tensor cores at {capability}"
    assert "atom" not in forward + backward, "additions in no fixed order"
"""


def test_the_kernels_compile_for_gpus_and_use_their_tensor_cores() -> None:
    """For an A100 and an H100 (compute capabilities 8.0 and 9.0), which need not be there."""
    subprocess.run([sys.executable, "-c", COMPILE], check=True, env={**os.environ, "TRITON_INTERPRET": "0"})
