"""Normalisation and aggregation of teacher scores, by hand."""

import numpy as np
import pytest

from sparsemill.ensemble.aggregate import aggregate, equal_weights
from sparsemill.ensemble.normalise import METHODS, normalise


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        ("minmax", [2, 6, 3], [0, 1, 0.25]),
        ("minmax", [-1, -3], [1, 0]),
        ("zscore", [1, 3], [-1, 1]),
        ("zscore", [2, 4, 4, 4, 5, 5, 7, 9], [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]),
        ("rank", [0.1, 7.0, 3.0], [0, 1, 0.5]),
        ("rank", [5, 5, 1, 9, 5], [0.5, 0.5, 0, 1, 0.5]),
        ("rank", [2, 2], [0.5, 0.5]),
        ("none", [2, 6, 3], [2, 6, 3]),
    ],
)
def test_by_hand(method: str, values: list[float], expected: list[float]) -> None:
    found = normalise(scores(*values), method)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("method", ["minmax", "zscore"])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, -1e-6, 1e20])
@pytest.mark.parametrize("count", [1, 3, 7, 1000])
def test_a_constant_row_becomes_zero(method: str, value: float, count: int) -> None:
    """Also where the float32 mean of equal numbers is not that number."""
    assert normalise(np.full((2, count), value), method).tolist() == [[0.0] * count] * 2


def test_rank_of_one_document_is_zero() -> None:
    assert normalise(scores(5), "rank").tolist() == [0]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_rows_are_normalised_one_by_one(method: str) -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    matrix[2] = 0.3
    each = np.stack([normalise(row, method) for row in matrix])
    assert np.array_equal(normalise(matrix, method), each)
    assert np.isfinite(each).all()


@pytest.mark.parametrize("method", ["minmax", "zscore", "rank"])
def test_scale_and_shift_of_a_teacher_do_not_matter(method: str) -> None:
    row = np.random.default_rng(1).normal(size=20).astype(np.float32)
    assert np.allclose(normalise(row * 8 - 4, method), normalise(row, method), atol=1e-5)


def test_input_is_not_changed() -> None:
    row = scores(1, 2, 4)
    for method in METHODS:
        normalise(row, method)
    assert row.tolist() == [1, 2, 4]


def test_aggregate_is_the_scaled_mean() -> None:
    found = aggregate([scores(0, 1, 0.5), scores(1, 1, 0)], weights=None, scale=10)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([5, 10, 2.5])


def test_aggregate_with_weights() -> None:
    found = aggregate([scores(0, 1), scores(1, 0.5), scores(4, 0)], weights=[2, 1, 0.25], scale=3)
    assert found.tolist() == pytest.approx([6, 7.5])


def test_aggregate_needs_a_weight_for_each_teacher() -> None:
    with pytest.raises(ValueError, match="2 teachers but 1 weights"):
        aggregate([scores(0), scores(1)], weights=[1], scale=1)


def test_equal_weights_add_up_to_one() -> None:
    assert equal_weights(4) == [0.25] * 4
