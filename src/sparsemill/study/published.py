"""Published values, one by one: what a table shows beside ours, and what is checked."""

from collections.abc import Iterator
from typing import NamedTuple

from sparsemill.evaluation.measures import is_ranking_measure
from sparsemill.study.measures import COSTS
from sparsemill.study.models import Published, Scale, Study
from sparsemill.study.models.published import SHOWN_ONLY, Evidence, PublishedCell, PublishedColumn, PublishedRow, Tier


class Value(NamedTuple):
    """A published value with all that is said of it.

    Attributes:
        paper: arXiv id.
        table: for example `Table 3`.
        row: name of the row.
        column: name of the column.
        measure: what was measured.
        collection: where.
        value: measures of rankings from 0 to 1; others as printed.
        evidence: how sure it is.
        source: where it was read.
        scale: scale at which a check makes sense (None: at any).
        tolerance: of a check (None: none).
        tier: kind of check.
        system: system here that must reach it (None: shown only).
        note: footnote.
    """

    paper: str
    table: str
    row: str
    column: str
    measure: str
    collection: str
    value: float
    evidence: Evidence
    source: str
    scale: Scale | None
    tolerance: float | None
    tier: Tier | None
    system: str | None
    note: str

    @property
    def checked(self) -> bool:
        """Whether it is a check: it names a system and a tolerance, and its evidence is strong enough."""
        return self.system is not None and self.tolerance is not None and self.evidence not in SHOWN_ONLY


def values(published: Published) -> Iterator[Value]:
    """The printed values of a published table, row by row."""
    for row_name, row in published.rows.items():
        for (column_name, column), cell in zip(published.columns.items(), row.values, strict=True):
            own = cell if isinstance(cell, PublishedCell) else PublishedCell(value=cell)
            if own.value is not None:
                yield _value(published, (row_name, row), (column_name, column), own, own.value)


def _value(
    published: Published,
    row: tuple[str, PublishedRow],
    column: tuple[str, PublishedColumn],
    cell: PublishedCell,
    printed: float,
) -> Value:
    (row_name, line), (column_name, measured) = row, column
    times = 100 if published.percent and is_ranking_measure(measured.measure) else 1
    return Value(
        paper=published.paper,
        table=published.table,
        row=row_name,
        column=column_name,
        measure=measured.measure,
        collection=measured.collection,
        value=round(printed / times, 12),
        evidence=cell.evidence or line.evidence or published.evidence,
        source=cell.source or line.source or published.source,
        scale=line.scale or published.scale,
        tolerance=cell.tolerance or line.tolerance or measured.tolerance or published.tolerance,
        tier=line.tier or published.tier,
        system=line.system,
        note=cell.note,
    )


def checked_values(study: Study) -> list[Value]:
    """The published values that a study's systems must reach: of its scale, its systems and what it measures."""
    measured = {*study.measures, *COSTS}
    return [
        value
        for published in study.published.values()
        for value in values(published)
        if value.checked
        and value.scale in (None, study.scale)
        and value.system in (study.experiments | study.teachers | study.ensembles)
        and value.measure in measured
    ]
