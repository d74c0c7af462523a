"""Paired tests and Holm's correction: hand numbers, parity with SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from sparsemill.errors import UserError
from sparsemill.evaluation.significance import FLIPS, Comparison, compare, comparisons, holm, mean_over_seeds, paired_p
from sparsemill.study.models import Column, Row, Table


def test_holm_by_hand() -> None:
    # Sorted: 0.005, 0.01, 0.03, 0.04 -> times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> 0.04 is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_t_test_by_hand() -> None:
    # Mean 2, sample variance 1, n 3: t = 2 / sqrt(1 / 3) = 3.4641 with 2 degrees of freedom.
    assert paired_p(np.array([1.0, 2.0, 3.0]), test="t-test") == pytest.approx(2 * stats.t.sf(3.4641016, 2))


def test_permutation_agrees_with_all_sign_flips() -> None:
    differences = np.array([0.5, -0.1, 0.3, 0.2, 0.4, -0.2, 0.6, 0.1])
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=8)]
    exact = np.mean([value >= abs(differences.sum()) - 1e-12 for value in sums])
    found = paired_p(differences, test="permutation", seed=1)
    assert found == pytest.approx(exact, abs=0.015)
    assert found == paired_p(differences, test="permutation", seed=1)
    assert found != paired_p(differences, test="permutation", seed=2)


def test_the_least_p_of_a_permutation_test() -> None:
    """The run that was observed is one of those counted."""
    assert paired_p(np.full(40, 0.25), test="permutation") == 1 / (FLIPS + 1)


def test_sums_that_tie_but_for_rounding_are_as_extreme() -> None:
    """Ten of 16 sign flips give 0.4 or more, two of them without the last digit of the sum that is observed."""
    differences = np.array([0.1, 0.2, -0.3, 0.4])
    assert paired_p(differences, test="permutation") == pytest.approx(10 / 16, abs=0.015)


def test_any_sum_is_as_extreme_as_one_of_0_but_for_rounding() -> None:
    differences = np.array([0.1, 0.1, 0.1, -0.3])
    assert differences.sum() != 0
    assert paired_p(differences, test="permutation") == 1.0


@pytest.mark.parametrize("test", ["t-test", "permutation"])
def test_identical_systems_have_p_1(test: str) -> None:
    assert paired_p(np.zeros(5), test=test) == 1.0  # type: ignore[arg-type]  # a parametrised literal


def test_the_same_gain_everywhere_is_certain_for_the_t_test() -> None:
    assert paired_p(np.full(5, 0.25), test="t-test") == 0.0


def test_one_query_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 queries"):
        paired_p(np.ones(1), test="t-test")


def test_seeds_are_averaged_by_query() -> None:
    assert mean_over_seeds([{"b": 1.0, "a": 0.0}, {"a": 1.0, "b": 1.0}]) == {"a": 0.5, "b": 1.0}
    with pytest.raises(UserError, match="different queries"):
        mean_over_seeds([{"a": 1.0}, {"b": 1.0}])


def table(**changes: object) -> Table:
    rows = [Row(system="bm25"), Row(system="x", compare=["bm25"]), Row(system="y", compare=["bm25", "x"])]
    columns = [
        Column(measure="nDCG@10", collection="one"),
        Column(measure="nDCG@10", collection="two"),
        Column(measure="FLOPS", collection="three"),
    ]
    return Table(**({"caption": "c", "rows": rows, "columns": columns} | changes))


def test_comparisons_of_a_table() -> None:
    found = comparisons(table())
    assert len(found) == 6  # three pairs on each of two collections
    assert found[0] == Comparison("x", "bm25", "one")
    with pytest.raises(UserError, match="no column shows it"):
        comparisons(table(test_measure="MRR@10"))


def test_a_comparison_counts_once_however_often_it_is_asked_for() -> None:
    """Holm's correction would count it twice, and a cell would have its mark twice."""
    rows = [Row(system="bm25"), Row(system="x", compare=["bm25", "bm25"]), Row(system="x", label="X", compare=["bm25"])]
    assert comparisons(table(rows=rows)) == [Comparison("x", "bm25", "one"), Comparison("x", "bm25", "two")]


def test_compare_aligns_by_query_and_corrects_over_the_table() -> None:
    base = {"q1": 0.1, "q2": 0.5, "q3": 0.3, "q4": 0.4}
    better = {
        query: base[query] + gain for query, gain in zip(("q4", "q3", "q2", "q1"), (0.2, 0.3, 0.25, 0.2), strict=True)
    }
    values = {("bm25", "one"): base, ("x", "one"): better, ("y", "one"): dict(base)}
    pairs = [Comparison("x", "bm25", "one"), Comparison("y", "bm25", "one"), Comparison("bm25", "x", "one")]
    first, same, reverse = compare(values, pairs, test="t-test", alpha=0.05)
    aligned = [better[query] for query in base]
    assert first.p == pytest.approx(stats.ttest_rel(aligned, list(base.values())).pvalue)
    assert first.p_holm == pytest.approx(3 * first.p)
    assert first.significant
    assert first.mean_difference == pytest.approx(0.2375)
    assert reverse.mean_difference == pytest.approx(-0.2375)
    assert (same.p, same.p_holm, same.significant) == (1.0, 1.0, False)
    with pytest.raises(UserError, match="different queries of one"):
        compare(values | {("y", "one"): {"q1": 0.0}}, pairs, test="t-test", alpha=0.05)
