"""Claims: orderings that papers state, judged by a paired test."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sparsemill.errors import UserError
from sparsemill.evaluation.significance import PerQuery, paired_p
from sparsemill.study.models import Claim

GRID = 21  # costs at which two curves are compared


class Point(NamedTuple):
    """A system of one side: its cost (0 where none counts) and its per-query values."""

    cost: float
    values: PerQuery


class Judged(NamedTuple):
    """A claim beside what was measured.

    Attributes:
        difference: mean of better minus worse over queries (and over the costs that both curves span).
        p: two-sided p-value of the paired t-test; None where nothing could be compared.
        costs: the range of costs that was compared; None where none counts.
        verdict: ok: significantly better; near: no significant difference, or no cost in common; fail:
            significantly worse.
    """

    name: str
    claim: str
    source: str
    collection: str
    measure: str
    difference: float | None
    p: float | None
    costs: tuple[float, float] | None
    verdict: Literal["ok", "near", "fail"]

    def line(self) -> str:
        """One line for people."""
        found = "no cost in common" if self.difference is None else f"{self.difference:+.4f} (p = {self.p:.2g})"
        where = "" if self.costs is None else f" at {self.costs[0]:.3g} to {self.costs[1]:.3g}"
        return f"{self.verdict:7} {self.claim}: {found} {self.measure} on {self.collection}{where} [{self.source}]"


def differences(
    better: Sequence[Point], worse: Sequence[Point]
) -> tuple[npt.NDArray[np.float64], tuple[float, float]] | None:
    """Per-query differences of two curves, averaged over the costs that both span.

    Each side is a curve of per-query values over its cost, linear between its points; `GRID` equally spaced costs of
    the common range are compared. Two lone points of cost 0 are compared as they are.

    Returns:
        Differences [queries] in the order of sorted ids, and the range; None where the curves share no cost.

    Raises:
        UserError: the systems were evaluated on different queries.
    """
    queries = sorted(better[0].values)
    if any(sorted(point.values) != queries for point in (*better, *worse)):
        raise UserError("claims: its systems were evaluated on different queries; evaluate them again")
    low = max(min(point.cost for point in side) for side in (better, worse))
    high = min(max(point.cost for point in side) for side in (better, worse))
    if low > high:
        return None
    grid = np.linspace(low, high, GRID)
    return _on_grid(better, queries, grid) - _on_grid(worse, queries, grid), (low, high)


def _on_grid(side: Sequence[Point], queries: Sequence[str], grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Per-query values [queries] of a curve, averaged over the grid's costs."""
    ordered = sorted(side, key=lambda point: point.cost)
    costs = [point.cost for point in ordered]
    values = np.array([[point.values[query] for query in queries] for point in ordered], dtype=np.float64)
    # The weight of each point in the average: a unit at that point, interpolated.
    weights = np.array([np.interp(grid, costs, row).mean() for row in np.eye(len(costs))])
    return np.asarray(weights @ values, dtype=np.float64)


def judge_claim(
    better: Sequence[Point], worse: Sequence[Point], *, alpha: float
) -> tuple[float | None, float | None, tuple[float, float] | None, Literal["ok", "near", "fail"]]:
    """Difference, p-value, range of costs and verdict; see `Judged`."""
    compared = differences(better, worse)
    if compared is None:
        return None, None, None, "near"
    values, costs = compared
    difference, p = float(values.mean()), paired_p(values, test="t-test")
    if p >= alpha:
        return difference, p, costs, "near"
    return difference, p, costs, "ok" if difference > 0 else "fail"


def judge_all(
    claims: Mapping[str, Claim],
    values: Mapping[str, Mapping[tuple[str, str], PerQuery]],
    costs: Mapping[tuple[str, str, str], float],
) -> list[Judged]:
    """Judge claims in their order.

    Args:
        claims: name -> claim whose sides name systems.
        values: measure -> (system, collection) -> per-query values.
        costs: (system, collection, cost measure) -> value.

    Raises:
        UserError: a system's values or cost are not there.
    """
    judged = []
    for name, claim in claims.items():
        sides = [
            [_point(name, claim, system, values, costs) for system in side] for side in (claim.better, claim.worse)
        ]
        difference, p, span, verdict = judge_claim(sides[0], sides[1], alpha=claim.alpha)
        told = (name, claim.claim, claim.source, claim.collection, claim.measure)
        judged.append(Judged(*told, difference, p, None if claim.equal is None else span, verdict))
    return judged


def _point(
    name: str,
    claim: Claim,
    system: str,
    values: Mapping[str, Mapping[tuple[str, str], PerQuery]],
    costs: Mapping[tuple[str, str, str], float],
) -> Point:
    place = (system, claim.collection)
    try:
        cost = 0.0 if claim.equal is None else costs[(*place, claim.equal)]
        return Point(cost, values[claim.measure][place])
    except KeyError:
        raise UserError(f"claims.{name}: no values of {system} on {claim.collection}") from None
