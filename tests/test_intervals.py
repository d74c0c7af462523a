"""Bootstrap intervals: near the normal approximation, within collections, query by query, the same every time."""

import numpy as np
import pytest

from sparsemill.evaluation.intervals import Mean, difference, interval, means
from sparsemill.evaluation.significance import Comparison

RANDOM = np.random.default_rng(2)
SMALL, LARGE = RANDOM.random(40), 3 + RANDOM.random(400)


def half_width(*parts: tuple[float, np.ndarray]) -> float:
    """1.96 standard errors of a weighted sum of means of independent samples."""
    return float(1.96 * np.sqrt(sum(share**2 * sample.var() / sample.size for share, sample in parts)))


def test_an_interval_is_close_to_the_normal_one() -> None:
    found = interval([LARGE], [1.0], level=0.95)
    assert found is not None
    width = half_width((1.0, LARGE))
    assert found == pytest.approx((LARGE.mean() - width, LARGE.mean() + width), abs=0.1 * width)
    assert found == interval([LARGE], [1.0], level=0.95)
    assert found != interval([LARGE], [1.0], level=0.95, seed=1)
    narrow = interval([LARGE], [1.0], level=0.5)
    assert narrow is not None
    assert found.low < narrow.low < narrow.high < found.high


def test_of_a_group_queries_are_drawn_within_their_collection() -> None:
    """That the collections' means are far apart (0.5 and 3.5) does not widen the interval."""
    found = interval([SMALL, LARGE], [0.5, 0.5], level=0.95)
    assert found is not None
    width = half_width((0.5, SMALL), (0.5, LARGE))
    centre = (SMALL.mean() + LARGE.mean()) / 2
    assert found == pytest.approx((centre - width, centre + width), abs=0.1 * width)


def test_equal_values_have_no_width_and_one_query_has_no_interval() -> None:
    assert interval([np.full(5, 0.25)], [1.0], level=0.95) == (0.25, 0.25)
    assert interval([SMALL, np.ones(1)], [0.5, 0.5], level=0.95) is None


def test_means_and_differences_of_systems() -> None:
    queries = [f"q{number}" for number in range(40)]
    values = {
        ("x", "a"): dict(zip(queries, SMALL + 0.1, strict=True)),
        ("y", "a"): dict(zip(reversed(queries), reversed(SMALL), strict=True)),
        ("x", "b"): {"q0": 1.0},
    }
    places = {"a": {"a": 1.0}, "both": {"a": 0.5, "b": 0.5}}
    of_x, of_both, of_y = means(values, ["x", "y"], places, level=0.95)
    assert (of_x.system, of_x.collection, of_x.mean) == ("x", "a", pytest.approx(SMALL.mean() + 0.1))
    assert of_x.low is not None
    assert of_x.high is not None
    assert of_x.low < of_x.mean < of_x.high
    # y was not measured on b, and so has no mean of both; b has one query, and so x has no interval there.
    assert of_both == Mean("x", "both", pytest.approx((SMALL.mean() + 1.1) / 2), None, None)
    assert (of_y.system, of_y.collection) == ("y", "a")
    # Aligned by query, the difference is 0.1 everywhere.
    found = difference(values, Comparison("x", "y", "a"), {"a": 1.0}, level=0.95)
    assert found == pytest.approx((0.1, 0.1))
