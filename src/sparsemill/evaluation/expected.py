"""Expected values: what a row must reach, and whether it did."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import pandas as pd

from sparsemill.study.models import Expected
from sparsemill.tables.tidy import values_of

Status = Literal["ok", "near", "fail", "missing"]


class Verdict(NamedTuple):
    """An expected value beside the one that was measured.

    Attributes:
        tier: what kind of check it is; `expected` for values of the study's own.
        value: mean over the seeds; None where the row has no value.
        verdict: ok: within the tolerance; near: within three times it; fail: farther; missing: no value.
    """

    system: str
    collection: str
    measure: str
    expected: float
    tolerance: float
    source: str
    tier: str
    value: float | None
    verdict: Status

    def line(self) -> str:
        """One line for people."""
        found = "no value" if self.value is None else f"{self.value:.4g} ({self.value - self.expected:+.4f})"
        return (
            f"{self.verdict:7} {self.system} on {self.collection}, {self.measure}: {found}, "
            f"expected {self.expected:g} ± {self.tolerance:g} [{self.source}]"
        )


def judge(value: float | None, *, expected: float, tolerance: float) -> Status:
    """ok: |value - expected| <= tolerance; near: <= 3 * tolerance; else fail; missing where `value` is None."""
    if value is None:
        return "missing"
    # A difference of exactly the tolerance passes although decimal fractions are not exact in binary.
    distance = round(abs(value - expected), 12)
    if distance <= tolerance:
        return "ok"
    return "near" if distance <= round(3 * tolerance, 12) else "fail"


def fails(verdict: Status) -> bool:
    """Whether a verification must not pass: a value that is too far off, or that is not there."""
    return verdict in ("fail", "missing")


def check(frame: pd.DataFrame, expected: Iterable[Expected], *, engines: Mapping[str, str]) -> list[Verdict]:
    """Compare a tidy frame with expected values, in their order.

    Args:
        frame: see `sparsemill.tables.tidy`.
        expected: values with tolerances.
        engines: system -> engine whose run counts.
    """
    verdicts = []
    for item in expected:
        found = values_of(frame, item.system, item.collection, item.measure, engines=engines)
        value = sum(found) / len(found) if found else None
        status = judge(value, expected=item.value, tolerance=item.tolerance)
        row = (item.system, item.collection, item.measure, item.value, item.tolerance, item.source, item.tier)
        verdicts.append(Verdict(*row, value=value, verdict=status))
    return verdicts
