"""Normalisation and aggregation of teacher scores, by hand."""

import numpy as np
import pytest
from scipy import special, stats

from sparsemill.ensemble.aggregate import aggregate, equal_weights
from sparsemill.ensemble.combine import combine
from sparsemill.ensemble.normalise import METHODS, normalise
from sparsemill.ensemble.rescale import rescale
from sparsemill.study.models import Ensemble


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
        ("softmax", [0, np.log(3)], [0.25, 0.75]),
        ("softmax", [1000, 1000, -1e30], [0.5, 0.5, 0]),
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


@pytest.mark.parametrize("method", ["minmax", "zscore"])
@pytest.mark.parametrize("unit", [-140, -100, -64, 64, 100, 126])
def test_tiny_and_huge_scores_are_normalised_as_others_are(method: str, unit: int) -> None:
    """Probabilities go down to where their squares are 0 in float32."""
    values = scores(1, 2, 3, -1.5)
    assert normalise(np.ldexp(values, unit), method).tolist() == normalise(values, method).tolist()


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


def test_normalisations_of_scipy() -> None:
    rows = np.random.default_rng(2).normal(scale=5, size=(4, 30)).astype(np.float32)
    assert np.allclose(normalise(rows, "softmax"), special.softmax(rows, axis=1), atol=1e-6)
    assert np.allclose(normalise(rows, "zscore"), stats.zscore(rows, axis=1), atol=1e-5)
    assert np.allclose(normalise(rows, "rank") * 29 + 1, stats.rankdata(rows, axis=1), atol=1e-4)


# --- affine rescoring ---------------------------------------------------------------------------------------------


def test_rescaling_by_hand() -> None:
    """Mean 4, deviation 1 becomes mean 10, deviation 3."""
    found = rescale(scores(3, 5, 4, 4), scores(7, 13, 13, 7) * 1.0)
    assert found.dtype == np.float32
    spread = 3 / np.sqrt(0.5)
    assert found.tolist() == pytest.approx([10 - spread, 10 + spread, 10, 10])


def test_rescaling_keeps_the_order_and_gives_the_range() -> None:
    """Row by row; the same however the scores were scaled before."""
    generator = np.random.default_rng(3)
    mine, theirs = (
        generator.normal(loc=shift, scale=size, size=(6, 40)).astype(np.float32) for shift, size in ((0, 1), (-7, 4))
    )
    found = rescale(mine, theirs)
    assert np.array_equal(np.argsort(found, axis=1), np.argsort(mine, axis=1))
    assert np.allclose(found.mean(1), theirs.mean(1), atol=1e-4)
    assert np.allclose(found.std(1), theirs.std(1), atol=1e-4)
    assert np.allclose(rescale(mine * 8 - 3, theirs), found, atol=1e-4)
    slope = np.polyfit(mine[0], found[0], 1)[0]
    assert slope == pytest.approx(theirs[0].std() / mine[0].std(), rel=1e-4)


def test_rescaling_constant_rows() -> None:
    assert rescale(scores(0.3, 0.3, 0.3), scores(1, 2, 6)).tolist() == pytest.approx([3, 3, 3])
    assert rescale(scores(1, 2, 3), scores(5, 5, 5)).tolist() == pytest.approx([5, 5, 5])
    assert rescale(scores(4), scores(7)).tolist() == [7]


def test_combine_is_the_chain_of_its_parts() -> None:
    raw = [np.random.default_rng(seed).normal(scale=seed, size=(3, 7)).astype(np.float32) for seed in (1, 5)]
    settings = {"teachers": ["a", "b"], "weights": [0.25, 0.75], "normalisation": "zscore", "scale": 1}
    added = aggregate([normalise(one, "zscore") for one in raw], weights=[0.25, 0.75], scale=1)
    assert np.array_equal(combine(raw, Ensemble.model_validate(settings)), added)
    rescaled = combine(raw, Ensemble.model_validate({**settings, "rescale_to": "b"}))
    assert np.array_equal(rescaled, rescale(added, raw[1]))


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
