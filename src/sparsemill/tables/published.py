"""Published values beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparsemill.study.missing import NOT_RUN
from sparsemill.tables.layout import Cell, Cited, Layout, Line, number_text

APPROXIMATE = {"digitised": "≈", "recalled": "~"}
"""Evidence -> the sign before a value that is no more than a hint."""
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_published(layout: Layout, published: Mapping[str, Any]) -> Layout:
    """Put published values into a table's cells, with footnotes.

    Args:
        layout: of the table, with what was measured.
        published: see `sparsemill.study.published.shown`.
    """
    values = {(cell["row"], cell["column"]): cell for cell in published["cells"]}
    noted: dict[int, list[int]] = {}
    for entry in published["rows"]:
        noted.setdefault(entry["row"], []).extend(entry["notes"])
    lines = [
        line._replace(
            cells=[_cell(cell, values.get((row, column))) for column, cell in enumerate(line.cells)],
            note=line.note if line.system or NOT_RUN in line.note else "; ".join(filter(None, ["cited", line.note])),
            notes=tuple(note + 1 for note in noted.get(row, [])),
        )
        for row, line in enumerate(layout.lines)
    ]
    return layout._replace(lines=lines, legend=[*layout.legend, *_legend(lines, published)])


def _cell(cell: Cell, found: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return cell
    difference = None if cell.mean is None else cell.mean - found["value"]
    notes = tuple(note + 1 for note in found["notes"])
    return cell._replace(cited=Cited(found["value"], found["evidence"], difference, notes))


def _legend(lines: Sequence[Line], published: Mapping[str, Any]) -> list[str]:
    shown = [cell for line in lines for cell in line.cells if cell.cited is not None]
    meanings = []
    if any(cell.mean is not None for cell in shown):
        meanings.append("in parentheses the published value and the difference of ours from it")
    if any(cell.mean is None for cell in shown):
        meanings.append("in italics published values alone")
    evidence = {cell.cited.evidence for cell in shown if cell.cited is not None}
    if "digitised" in evidence:
        meanings.append("≈ read off a plot")
    if "recalled" in evidence:
        meanings.append("~ recalled, not read in the paper")
    legend = [f"Cells: {'; '.join(meanings)}."] if meanings else []
    legend += [f"Published: {source}" for source in published["sources"]]
    return legend + [f"{footnotes([number])} {note}" for number, note in enumerate(published["notes"], start=1)]


def footnotes(numbers: Sequence[int]) -> str:
    """Numbers of footnotes as Unicode superscripts."""
    return ",".join(map(str, numbers)).translate(_SUPERSCRIPTS)


def cited_text(cell: Cell) -> str:
    """The published value, and the difference of ours where there is ours: `0.378, −0.006`; empty without a value."""
    if cell.cited is None:
        return ""
    value = APPROXIMATE.get(cell.cited.evidence, "") + number_text(cell.cited.value, cell.digits)
    if cell.cited.difference is None:
        return value
    return f"{value}, {cell.cited.difference:+.{cell.digits}f}".replace("-", "−")
