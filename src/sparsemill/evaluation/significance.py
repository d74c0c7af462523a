"""Paired significance tests with Holm's correction over all comparisons of a table."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.study.models import Row, Table

Test = Literal["t-test", "permutation"]
PerQuery = Mapping[str, float]
FLIPS = 10_000
_CHUNK = 2**22  # signs drawn at once


class Comparison(NamedTuple):
    """A system to test against a baseline on a collection."""

    system: str
    baseline: str
    collection: str


class Outcome(NamedTuple):
    """The result of one comparison; p is two-sided, `p_holm` corrected over the table."""

    system: str
    baseline: str
    collection: str
    mean_difference: float
    p: float
    p_holm: float
    significant: bool


def comparisons(table: Table) -> list[Comparison]:
    """Every row with every system of its `compare`, on each collection whose test measure the table shows.

    Each is there once, also where two rows show one system, or a row names a baseline twice.

    Raises:
        UserError: rows are compared, but no column shows the table's `test_measure`.
    """
    shown = dict.fromkeys(
        column.collection for column in table.measured_columns if column.measure == table.test_measure
    )
    rows: list[Row] = [row for row in table.rows if row.compare]
    if rows and not shown:
        raise UserError(
            f"table {table.caption!r}: rows are compared on {table.test_measure}, but no column shows it; "
            "add the column or set `test_measure`"
        )
    wanted = (
        Comparison(row.system, baseline, collection)
        for row, collection in itertools.product(rows, shown)
        for baseline in row.compare
    )
    return list(dict.fromkeys(wanted))


def read_per_query(
    folders: Iterable[Path], *, measure: str, engines: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, float]]:
    """Per-query values of one measure, averaged over the seeds of each system.

    Args:
        folders: evaluations, whose manifests' spec says `system`, `variant`, `collection` and `engine`.
        measure: the measure to read.
        engines: system -> engine whose evaluation counts; others are passed over.

    Returns:
        (system, collection) -> query id -> value.

    Raises:
        UserError: an evaluation lacks the measure or is given twice, or seeds saw different queries.
    """
    variants: dict[tuple[str, str], dict[str, PerQuery]] = {}
    for folder in folders:
        spec = manifest.read(folder)["spec"]
        if engines.get(spec["system"]) != spec["engine"]:
            continue
        frame = pd.read_parquet(folder / "per_query.parquet", filters=[("measure", "==", measure)])
        if frame.empty:
            raise UserError(f"{folder}: has no {measure}; add it to `measures`, or change the table's `test_measure`")
        seeds = variants.setdefault((spec["system"], spec["collection"]), {})
        if spec["variant"] in seeds:
            raise UserError(f"{folder}: {spec['system']} ({spec['variant']}) on {spec['collection']} is given twice")
        seeds[spec["variant"]] = dict(zip(frame["query_id"], frame["value"], strict=True))
    return {place: mean_over_seeds(seeds.values()) for place, seeds in variants.items()}


def mean_over_seeds(variants: Iterable[PerQuery]) -> dict[str, float]:
    """Average per-query values over a system's seeds, sorted by query id.

    Raises:
        UserError: the seeds were evaluated on different queries.
    """
    listed = list(variants)
    queries = sorted(listed[0])
    if any(sorted(values) != queries for values in listed):
        raise UserError("significance: the seeds of a system were evaluated on different queries; evaluate them again")
    return {query: sum(values[query] for values in listed) / len(listed) for query in queries}


def pool(values: Mapping[tuple[str, str], PerQuery], shares: Mapping[str, float], system: str) -> PerQuery:
    """A system's per-query values on a group of collections, weighted so that their mean is the group's mean.

    A value on a collection of n of the N queries is multiplied by share * N / n. The pooled tests then ask about the
    number that the table shows, and flip or resample queries; the collections are taken as given.

    Args:
        values: (system, collection) -> per-query values.
        shares: collection -> its share of the group's mean.
        system: must have values on every collection.
    """
    total = sum(len(values[system, collection]) for collection in shares)
    return {
        f"{collection} {query}": value * share * total / len(values[system, collection])
        for collection, share in shares.items()
        for query, value in values[system, collection].items()
    }


def with_groups(
    values: Mapping[tuple[str, str], PerQuery], groups: Mapping[str, Mapping[str, float]]
) -> dict[tuple[str, str], PerQuery]:
    """Add the pooled values of each group to every system that has all its collections."""
    found = dict(values)
    systems = dict.fromkeys(system for system, _ in values)
    for (name, shares), system in itertools.product(groups.items(), systems):
        if all((system, collection) in values for collection in shares):
            found[system, name] = pool(values, shares, system)
    return found


def paired_p(differences: npt.NDArray[np.float64], *, test: Test, seed: int = 0) -> float:
    """Two-sided p-value of per-query differences [queries]; 1.0 where all of them are 0.

    Args:
        differences: system minus baseline, one per query.
        test: Student's paired t-test, or a permutation test that flips the signs of `FLIPS` random subsets
            ((1 + as extreme) / (1 + FLIPS), so never 0).
        seed: of the permutation test.

    Raises:
        UserError: fewer than two queries.
    """
    if differences.size < 2:
        raise UserError(f"significance: a paired test needs at least 2 queries, there is {differences.size}")
    if not differences.any():
        return 1.0
    if test == "permutation":
        return _permutation(differences, seed)
    if np.ptp(differences) == 0:  # the same difference everywhere: t is infinite
        return 0.0
    return float(stats.ttest_rel(differences, np.zeros_like(differences)).pvalue)


def _permutation(differences: npt.NDArray[np.float64], seed: int) -> float:
    random = np.random.default_rng(seed)
    observed = abs(differences.sum())
    slack = 1e-12 * float(abs(differences).sum())
    extreme, left = 0, FLIPS
    while left:
        rows = min(left, max(1, _CHUNK // differences.size))
        signs = random.integers(0, 2, size=(rows, differences.size), dtype=np.int8) * 2 - 1
        # Sums that are equal but for rounding are as extreme as the one observed, which may be 0 but for rounding.
        extreme += int((abs(signs @ differences) >= observed - slack).sum())
        left -= rows
    return (1 + extreme) / (1 + FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; values never fall below a smaller one's and stop at 1.
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = floor
    return adjusted


def compare(
    values: Mapping[tuple[str, str], PerQuery], pairs: Sequence[Comparison], *, test: Test, alpha: float, seed: int = 0
) -> list[Outcome]:
    """Test all comparisons of a table and correct them together.

    Args:
        values: (system, collection) -> per-query values, seeds already averaged.
        pairs: comparisons whose systems are all in `values`.
        test: see `paired_p`.
        alpha: level that a corrected p-value must fall below.
        seed: of the permutation test.

    Raises:
        UserError: two systems were evaluated on different queries, or on fewer than two.
    """
    results = []
    for pair in pairs:
        system, baseline = values[pair.system, pair.collection], values[pair.baseline, pair.collection]
        if system.keys() != baseline.keys():
            raise UserError(
                f"significance: {pair.system} and {pair.baseline} were evaluated on different queries of "
                f"{pair.collection}; evaluate both again"
            )
        differences = np.array([system[query] - baseline[query] for query in sorted(system)], dtype=np.float64)
        results.append((float(differences.mean()), paired_p(differences, test=test, seed=seed)))
    corrected = holm([p for _, p in results])
    return [
        Outcome(*pair, difference, p, p_holm, p_holm < alpha)
        for pair, (difference, p), p_holm in zip(pairs, results, corrected, strict=True)
    ]
