"""Published values, one by one: what a table shows beside ours, and what is checked."""

from collections.abc import Container, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

from sparsemill.evaluation.measures import is_ranking_measure
from sparsemill.study.measures import COSTS
from sparsemill.study.models import Figure, Published, Scale, Study, Table
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
        and value.system in (study.experiments | study.released | study.teachers | study.ensembles)
        and value.measure in measured
    ]


def shown(study: Study, table: Table) -> dict[str, Any]:
    """The published values and footnotes that a table shows, as plain data.

    Returns:
        `cells`: {row, column (positions in the table), value, evidence, notes (positions in `notes`)};
        `rows`: {row, notes}; `notes`: footnotes; `sources`: where the values come from.
    """
    notes: dict[str, int] = {}
    cells: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    sources: list[str] = []
    for name in table.published:
        published = study.published[name]
        taken = {(cell["row"], cell["column"]) for cell in cells}
        fresh = list(_cells(table, published, notes, taken))
        if fresh:
            cells += fresh
            rows += _noted_rows(table, published, notes, dict.fromkeys(cell["row"] for cell in fresh))
            sources.append(_source(published))
    return {"cells": cells, "rows": rows, "notes": list(notes), "sources": sources}


def _row_of(table: Table, position: int, published: Published) -> str | None:
    """The published row beside a row of a table: the one it names, or that of its system, by name or by `system`."""
    row = table.rows[position]
    name = row.published or row.system
    if name in published.rows or row.published is not None or not row.system:
        return name if name in published.rows else None
    return next((key for key, line in published.rows.items() if line.system == row.system), None)


def _note(text: str, notes: dict[str, int]) -> list[int]:
    return [notes.setdefault(text, len(notes))] if text else []


def _cells(
    table: Table, published: Published, notes: dict[str, int], taken: Container[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    found = {(value.row, value.measure, value.collection): value for value in values(published)}
    for number in range(len(table.rows)):
        row = _row_of(table, number, published)
        for place, column in enumerate(table.columns):
            value = found.get((row or "", column.measure, column.collection))
            if value is not None and (number, place) not in taken:
                yield {
                    "row": number,
                    "column": place,
                    "value": value.value,
                    "evidence": value.evidence,
                    "notes": _note(value.note, notes),
                }


def _noted_rows(
    table: Table, published: Published, notes: dict[str, int], rows: Iterable[int]
) -> Iterator[dict[str, Any]]:
    for number in rows:
        row = _row_of(table, number, published)
        if row is not None and published.rows[row].note:
            yield {"row": number, "notes": _note(published.rows[row].note, notes)}


def _source(published: Published) -> str:
    where = f"{published.paper}, {published.table}"
    return f"{where}: {published.note}" if published.note else f"{where}."


def curves(study: Study, figure: Figure) -> list[dict[str, Any]]:
    """The published curves of a tradeoff figure, as plain data: label, collection, source, evidence, points (x, y).

    Rows with one label are a curve; it needs the figure's two measures on one collection.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name in figure.published:
        published = study.published[name]
        cells = {(value.row, value.measure, value.collection): value for value in values(published)}
        places = dict.fromkeys(column.collection for column in published.columns.values())
        for collection, (row, line) in product(places, published.rows.items()):
            pair = [cells.get((row, measure, collection)) for measure in (figure.x, figure.y)]
            if pair[0] is not None and pair[1] is not None:
                label, source = line.label or row, f"{published.paper}, {published.table}"
                curve = {"label": label, "collection": collection, "source": source, "evidence": pair[1].evidence}
                curve = found.setdefault((label, collection, source), {**curve, "points": []})
                curve["points"].append([pair[0].value, pair[1].value])
    return list(found.values())
