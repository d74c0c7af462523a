"""Names of measures: those that a run is evaluated with, and the costs that come from vectors and clocks."""

from collections.abc import Iterator
from typing import NamedTuple

from sparsemill.errors import UserError
from sparsemill.evaluation.measures import KNOWN, cutoff, is_ranking_measure
from sparsemill.study.groups import members
from sparsemill.study.hints import nearest
from sparsemill.study.models import Study
from sparsemill.study.timings import FORMS, Timing, check_timing, parse_timing

SPARSITY = ("FLOPS", "tokens/doc", "tokens/query", "postings", "postings/query")
LATENCY = ("latency/BM25", *(f"{side}{name}_ms" for side in ("", "bm25_") for name in ("p50", "p99", "mean")))
INDEX_SIZE = "index MB"
COSTS = (*SPARSITY, *LATENCY, INDEX_SIZE)


class Use(NamedTuple):
    """A measure that the config shows.

    Attributes:
        where: path of the key.
        measure: its name.
        collections: where it is shown.
        systems: for which systems.
    """

    where: str
    measure: str
    collections: list[str]
    systems: list[str]


def uses(study: Study) -> Iterator[Use]:
    """Every measure that a table, a figure or an expected value shows."""
    for name, table in study.tables.items():
        systems = [row.system for row in table.measured_rows]
        for column in table.measured_columns:
            yield Use(f"tables.{name}.columns", column.measure, [column.collection], systems)
    for name, figure in study.figures.items():
        if figure.kind == "tradeoff":
            yield Use(f"figures.{name}.x", figure.x, [figure.collection], figure.systems)
        if figure.kind != "activation":
            yield Use(f"figures.{name}.y", figure.y, [figure.collection], figure.systems)
    for expected in study.expected:
        yield Use("expected.measure", expected.measure, [expected.collection], [expected.system])


class Asked(NamedTuple):
    """What is to be measured of a system's times in an engine.

    Attributes:
        numbers: documents a query, or clients; sorted.
        baselines: BM25 teachers to compare with; sorted.
    """

    numbers: list[int]
    baselines: list[str]


def timed_uses(study: Study, kind: str) -> list[tuple[Use, Timing]]:
    """The shown measures of times of one kind (see `sparsemill.study.timings`)."""
    found = ((use, parse_timing(use.measure)) for use in uses(study))
    return [(use, timing) for use, timing in found if timing is not None and timing.kind == kind]


def asked_times(study: Study, kind: str, system: str, collection: str, engine: str) -> Asked:
    """What tables, figures and expected values show of a system's times."""
    found = [
        timing
        for use, timing in timed_uses(study, kind)
        if timing.engine == engine
        and system in use.systems
        and any(collection in members(study, name) for name in use.collections)
    ]
    baselines = sorted({timing.baseline for timing in found} - {""})
    return Asked(sorted({timing.number for timing in found}), baselines)


def check_ranking(where: str, measure: str) -> None:
    """Raise a UserError for what is no measure of runs."""
    if not is_ranking_measure(measure):
        raise UserError(f"config: {where}: {measure!r} is no measure of runs; valid: {KNOWN}")


def check_evaluated(where: str, measure: str, study: Study) -> None:
    """Raise a UserError for a measure of runs that no run is evaluated with."""
    if measure not in study.measures:
        raise UserError(f"config: {where}: {measure} is not among `measures`, so no run is evaluated with it; add it")


def _check_shown(where: str, measure: str, study: Study) -> None:
    if measure == INDEX_SIZE and study.engine in study.engines:
        raise UserError(
            f"config: {where}: {measure}: only a server knows the size of an index of engine {study.engine}"
        )
    if measure in COSTS or measure in study.measures:
        return
    if (timing := parse_timing(measure)) is not None:
        check_timing(where, timing, study)
        return
    if is_ranking_measure(measure):
        check_evaluated(where, measure, study)
    raise UserError(
        f"config: {where}: no measure {measure!r}; {nearest(measure, [*COSTS, *study.measures])} "
        f"(runs: {KNOWN}; costs: {', '.join(COSTS)}; times: {FORMS})"
    )


def _check_tests(study: Study) -> None:
    for name, table in study.tables.items():
        where = f"config: tables.{name}.test_measure"
        if not any(row.compare for row in table.rows):
            continue
        if table.test_measure not in study.measures:
            raise UserError(
                f"{where}: rows are compared on {table.test_measure}, which is not among `measures`; add it"
            )
        if all(column.measure != table.test_measure for column in table.measured_columns):
            raise UserError(f"{where}: rows are compared on {table.test_measure}, but no column shows it; add a column")


def check_measures(study: Study) -> None:
    """Raise a UserError for a measure that does not exist, or that is shown but not measured.

    A cutoff beyond the depth of the runs is refused too: R@1000 of 200 documents would be R@200.
    """
    for measure in study.measures:
        check_ranking("measures", measure)
        if (cutoff(measure) or 0) > study.depth:
            raise UserError(
                f"config: measures: {measure} looks at {cutoff(measure)} documents, but runs keep {study.depth} "
                f"(`depth`); raise `depth`, or set `measures` without it"
            )
    for use in uses(study):
        _check_shown(use.where, use.measure, study)
    for name, page in study.explanations.items():
        check_ranking(f"explanations.{name}.measure", page.measure)
        if page.pick == "extremes":
            check_evaluated(f"explanations.{name}.measure", page.measure, study)
    _check_tests(study)
