"""A table as plain data: what every writer in `render` writes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from sparsemill.errors import UserError
from sparsemill.evaluation.measures import is_ranking_measure
from sparsemill.study.models import PAIR_COUNTS, Column, Row, Table
from sparsemill.tables.groups import Groups, missing_members, with_groups
from sparsemill.tables.missing import missing_notes
from sparsemill.tables.tidy import select

LETTERS = "abcdefghijklmnoprstuvwxyz"  # q has no superscript in Unicode


def number_text(value: float, digits: int) -> str:
    """A value with its decimals; large counts get thousands' separators."""
    return f"{value:,.{digits}f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"


def three_digits(value: float) -> int:
    """Decimals with which a value shows three significant digits, at most nine."""
    return min(max(2 - math.floor(math.log10(abs(value))), 0), 9) if value and math.isfinite(value) else 2


class Mark(NamedTuple):
    """A significant difference from the baseline of that letter; `worse`: to the system's disadvantage."""

    letter: str
    worse: bool


class Ends(NamedTuple):
    """Ends of a confidence interval of a mean, and its level, for example 0.95."""

    low: float
    high: float
    level: float


class Cited(NamedTuple):
    """A published value; `difference`: of ours from it, None without ours; `notes`: numbers of footnotes, from 1."""

    value: float
    evidence: str
    difference: float | None = None
    notes: tuple[int, ...] = ()


class Cell(NamedTuple):
    """A value of the table; all None or empty where there is none.

    Attributes:
        mean: over the seeds, unrounded.
        std: sample standard deviation over the seeds; None with a single one.
        digits: decimals to show.
        best: the best of the trained systems in a column of effectiveness.
        marks: significant differences, in the order of the baselines.
        cited: the published value.
        interval: of the mean, in columns of the tested measure.
    """

    mean: float | None
    std: float | None
    digits: int
    best: bool = False
    marks: tuple[Mark, ...] = ()
    cited: Cited | None = None
    interval: Ends | None = None

    def text(self, *, missing: str = "–", plus_minus: str = " ± ") -> str:
        """The rounded value, with its deviation if there is one."""
        if self.mean is None:
            return missing
        shown = number_text(self.mean, self.digits)
        return shown if self.std is None else f"{shown}{plus_minus}{self.std:.{self.digits}f}"


class Header(NamedTuple):
    """A column's title and the title of the group it stands in (empty: none)."""

    label: str
    group: str


class Line(NamedTuple):
    """A row: its system, what is written in the first column, its cells, and numbers of footnotes, from 1."""

    system: str
    label: str
    note: str
    cells: list[Cell]
    notes: tuple[int, ...] = ()


class Layout(NamedTuple):
    """A whole table; `legend` explains marks and deviations, one sentence each."""

    caption: str
    headers: list[Header]
    lines: list[Line]
    legend: list[str]


def layout(
    table: Table,
    frame: pd.DataFrame,
    significance: Mapping[str, Any] | None,
    *,
    engines: Mapping[str, str],
    groups: Groups | None = None,
) -> Layout:
    """Fill a table from a tidy frame.

    Args:
        table: rows and columns.
        frame: see `sparsemill.tables.tidy`.
        significance: content of `significance.json`, or None for a table without tests.
        engines: system -> engine whose run feeds the table.
        groups: the groups of collections among the columns, and what their means are taken of.

    Raises:
        UserError: more baselines than letters.
    """
    measured, groups = frame, groups or {}
    frame = with_groups(frame, groups)
    letters = _letters(table.rows)
    marks = _marks(significance["pairs"], letters) if significance else {}
    intervals = _intervals(significance) if significance else {}
    columns = [
        _with_intervals(table, column, _column(table, column, frame, marks, engines), intervals)
        for column in table.columns
    ]
    lines = [
        Line(row.name, row.label or row.name, row.note, [cells[position] for cells in columns])
        for position, row in enumerate(table.rows)
    ]
    legend = _legend(table, letters, significance) if significance and significance["pairs"] else []
    counts = {len(_select(frame, row, column, engines)) for row in table.rows for column in table.columns} - {0, 1}
    if counts:
        seeds = " or ".join(map(str, sorted(counts)))
        legend.append(f"Mean ± sample standard deviation over {seeds} seeds.")
    legend += [
        *_group_notes(table, measured, engines, groups),
        *missing_notes(table, measured, engines=engines, groups=groups),
    ]
    legend += table.notes
    return Layout(table.caption, _headers(table.columns), lines, legend)


def _select(frame: pd.DataFrame, row: Row, column: Column, engines: Mapping[str, str]) -> pd.DataFrame:
    if column.cited:
        return frame.iloc[:0]
    if column.measure in PAIR_COUNTS:
        return select(frame, row.training_set, "", column.measure, engines=engines)
    if not row.system:
        return frame.iloc[:0]
    return select(frame, row.system, column.collection, column.measure, engines=engines)


def _headers(columns: Sequence[Column]) -> list[Header]:
    """Columns without a label are named by their measure, below their collection if there are several."""
    several = len({column.collection for column in columns}) > 1
    return [
        Header(column.label, "") if column.label else Header(column.measure, column.collection if several else "")
        for column in columns
    ]


def _column(
    table: Table,
    column: Column,
    frame: pd.DataFrame,
    marks: Mapping[tuple[str, str], tuple[Mark, ...]],
    engines: Mapping[str, str],
) -> list[Cell]:
    tested = column.measure == table.test_measure
    cells, trained = [], []
    for row in table.rows:
        found = _select(frame, row, column, engines)
        values = [float(value) for value in found["value"]]
        mean = sum(values) / len(values) if values else None
        std = float(found["value"].std(ddof=1)) if len(values) > 1 else None
        shown = marks.get((row.system, column.collection), ()) if tested and values else ()
        cells.append(Cell(mean, std, column.digits, marks=shown))
        trained.append(bool(found["seed"].notna().any()))
    return _with_best(cells, trained) if is_ranking_measure(column.measure) else cells


def _intervals(significance: Mapping[str, Any]) -> dict[tuple[str, str], Ends]:
    means = [mean for mean in significance.get("means", []) if mean["low"] is not None]
    return {
        (mean["system"], mean["collection"]): Ends(mean["low"], mean["high"], significance["interval"]["level"])
        for mean in means
    }


def _with_intervals(
    table: Table, column: Column, cells: list[Cell], intervals: Mapping[tuple[str, str], Ends]
) -> list[Cell]:
    if column.measure != table.test_measure:
        return cells
    return [
        cell if cell.mean is None else cell._replace(interval=intervals.get((row.system, column.collection)))
        for row, cell in zip(table.rows, cells, strict=True)
    ]


def _with_best(cells: list[Cell], trained: Sequence[bool]) -> list[Cell]:
    """Mark the largest value of the trained rows, and those equal to it as shown; a lone row is not a best one."""
    rounded = [
        round(cell.mean, cell.digits) if cell.mean is not None and learned else -math.inf
        for cell, learned in zip(cells, trained, strict=True)
    ]
    if sum(value > -math.inf for value in rounded) < 2:
        return cells
    top = max(rounded)
    return [cell._replace(best=value == top) for cell, value in zip(cells, rounded, strict=True)]


def _letters(rows: Sequence[Row]) -> dict[str, str]:
    baselines = list(dict.fromkeys(baseline for row in rows for baseline in row.compare))
    if len(baselines) > len(LETTERS):
        raise UserError(f"a table compares with {len(baselines)} systems; there are marks for {len(LETTERS)}")
    return dict(zip(baselines, LETTERS, strict=False))


def _marks(pairs: Sequence[Mapping[str, Any]], letters: Mapping[str, str]) -> dict[tuple[str, str], tuple[Mark, ...]]:
    found: dict[tuple[str, str], tuple[Mark, ...]] = {}
    for pair in sorted(pairs, key=lambda pair: letters[pair["baseline"]]):
        if pair["significant"]:
            place = (pair["system"], pair["collection"])
            found[place] = (*found.get(place, ()), Mark(letters[pair["baseline"]], pair["mean_difference"] < 0))
    return found


def _legend(table: Table, letters: Mapping[str, str], significance: Mapping[str, Any]) -> list[str]:
    labels = {row.system: row.label or row.system for row in table.rows}
    better = ", ".join(
        f"{superscript(letter)} better than {labels.get(name, name)}" for name, letter in letters.items()
    )
    test = {"t-test": "paired t-test", "permutation": "paired permutation test"}[significance["test"]]
    count = len(significance["pairs"])
    correction = f"Holm over {count} comparisons" if count != 1 else "1 comparison"
    legend = [f"{better}: {test} on {significance['measure']}, {correction}, p < {significance['alpha']:g}"]
    marked = [pair for pair in significance["pairs"] if pair["significant"]]
    if any(pair["mean_difference"] < 0 for pair in marked):
        legend[0] += "; ↓ marks worse"
    elif not marked:
        legend[0] += "; no difference is significant"
    return [f"{legend[0]}."]


def _group_notes(table: Table, frame: pd.DataFrame, engines: Mapping[str, str], groups: Groups) -> list[str]:
    """What the columns of groups are means of, and why a row has none."""
    notes = []
    for name, shares in groups.items():
        inside = "" if len(set(shares.values())) == 1 else ", of which groups inside it are averaged first"
        notes.append(f"{name}: mean over {len(shares)} collections{inside}.")
    columns = [column for column in table.measured_columns if column.collection in groups]
    for column, row in itertools.product(columns, table.measured_rows):
        shares = groups[column.collection]
        if missing := missing_members(frame, shares, row.system, column.measure, engines=engines):
            who = row.label or row.system
            notes.append(f"{column.collection}: no {column.measure} of {who}, for want of {', '.join(missing)}.")
    return notes


def superscript(letters: str) -> str:
    """Letters as Unicode superscripts; other characters stay."""
    raised = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
    return letters.translate(str.maketrans(LETTERS, raised))
