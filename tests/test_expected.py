"""Verdicts on expected values."""

import pytest

from sparsemill.evaluation.expected import check, fails, judge
from sparsemill.study.models import Expected
from sparsemill.tables.tidy import Record, to_frame


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.50, "ok"), (0.51, "ok"), (0.49, "ok"), (0.511, "near"), (0.53, "near"), (0.47, "near"), (0.531, "fail")],
)
def test_verdicts(value: float, verdict: str) -> None:
    assert judge(value, expected=0.5, tolerance=0.01) == verdict


def test_check_takes_the_mean_over_seeds_of_the_systems_engine() -> None:
    rows = [
        Record("x", "seed-0", 0, "c", "lucene", "AP", 0.4, 10, "k"),
        Record("x", "seed-1", 1, "c", "lucene", "AP", 0.6, 10, "k"),
        Record("x", "seed-0", 0, "c", "exact", "AP", 0.9, 10, "k"),
    ]
    wanted = [
        Expected(system="x", collection="c", measure="AP", value=0.5, tolerance=0.01, source="here"),
        Expected(system="x", collection="c", measure="AP", value=0.9, tolerance=0.01, source="there"),
        Expected(system="x", collection="d", measure="AP", value=0.5, tolerance=0.01, source="nowhere"),
    ]
    verdicts = check(to_frame(rows), wanted, engines={"x": "lucene"})
    assert [verdict.verdict for verdict in verdicts] == ["ok", "fail", "missing"]
    assert verdicts[0].value == pytest.approx(0.5)
    assert [fails(verdict.verdict) for verdict in verdicts] == [False, True, True]
    assert verdicts[1].line() == "fail    x on c, AP: 0.5 (-0.4000), expected 0.9 ± 0.01 [there]"
    assert "no value" in verdicts[2].line()
