"""Pruning by hand: shares of the largest weight, the k largest, both."""

import numpy as np
import pytest
import torch
from scipy import sparse

from sparsemill.retrieval.prune import prune

MATRIX = sparse.csr_matrix(
    np.array([[0, 4.0, 1.0, 2.0, 0.39], [0, 0, 0, 0, 0], [3.0, 3.0, 3.0, 0, 1.0]], dtype=np.float32)
)


def test_max_ratio_by_hand() -> None:
    found = prune(MATRIX, max_ratio=0.25)
    assert found.toarray().tolist() == [[0, 4, 1, 2, 0], [0] * 5, [3, 3, 3, 0, 1]]
    assert found.nnz == 7
    assert prune(MATRIX, max_ratio=0.5).toarray().tolist() == [[0, 4, 0, 2, 0], [0] * 5, [3, 3, 3, 0, 0]]


def test_top_k_by_hand() -> None:
    """Of equal weights those with the smaller token id stay."""
    assert prune(MATRIX, top_k=2).toarray().tolist() == [[0, 4, 0, 2, 0], [0] * 5, [3, 3, 0, 0, 0]]
    assert prune(MATRIX, top_k=1).toarray().tolist() == [[0, 4, 0, 0, 0], [0] * 5, [3, 0, 0, 0, 0]]
    assert (prune(MATRIX, top_k=10) != MATRIX).nnz == 0


def test_both_act_in_any_order() -> None:
    random = sparse.random(40, 60, density=0.3, format="csr", dtype=np.float32, random_state=1)
    both = prune(random, max_ratio=0.3, top_k=7)
    for first, second in (({"max_ratio": 0.3}, {"top_k": 7}), ({"top_k": 7}, {"max_ratio": 0.3})):
        assert (prune(prune(random, **first), **second) != both).nnz == 0


@pytest.mark.parametrize("ratio", [0.1, 0.6])
def test_max_ratio_equals_a_plain_loop(ratio: float) -> None:
    random = sparse.random(20, 50, density=0.3, format="csr", dtype=np.float32, random_state=2)
    expected = [[w if w >= ratio * max(row) else 0 for w in row] for row in random.toarray()]
    assert prune(random, max_ratio=ratio).toarray().tolist() == pytest.approx(np.array(expected))


def test_nothing_asked_for_changes_nothing_and_the_input_stays() -> None:
    before = MATRIX.copy()
    assert (prune(MATRIX) != MATRIX).nnz == 0
    prune(MATRIX, max_ratio=0.5, top_k=1)
    assert (before != MATRIX).nnz == 0
    assert prune(sparse.csr_matrix((0, 5), dtype=np.float32), max_ratio=0.5, top_k=1).shape == (0, 5)


def test_top_k_equals_that_of_torch() -> None:
    dense = np.random.default_rng(3).random((6, 30), dtype=np.float32)
    values, columns = torch.topk(torch.from_numpy(dense), 4, dim=1)
    expected = torch.zeros(6, 30).scatter_(1, columns, values).numpy()
    assert np.array_equal(prune(sparse.csr_matrix(dense), top_k=4).toarray(), expected)
