"""`missing: show`: tables and figures of what has been run; rows of the rest say so, and which command runs it."""

from collections.abc import Callable, Iterable

from sparsemill.study.groups import members
from sparsemill.study.models import Row, Study, Table
from sparsemill.study.specs import system_engine, variants

Exists = Callable[[str], bool]
"""Whether the artefact of a key is there."""
NOT_RUN = "not run"
"""Starts the note of a row that nothing was run for."""


def lacking(study: Study, system: str, places: Iterable[str], exists: Exists) -> list[str]:
    """Keys of the evaluations of a system on collections and groups that are not there."""
    collections = dict.fromkeys(member for place in places for member in members(study, place))
    keys = [
        f"evaluations/{system}/{variant}/{collection}/{system_engine(study, system)}"
        for collection in collections
        for variant in variants(study, system)
    ]
    return [key for key in keys if not exists(key)]


def made_only(study: Study, exists: Exists) -> Study:
    """The study without what has not been run: its tables keep such rows, with published values and the command.

    Figures lose such systems, and are left out when none remains, as pages and expected values are.
    """
    figures = {}
    for name, figure in study.figures.items():
        systems = [system for system in figure.systems if not lacking(study, system, [figure.collection], exists)]
        if systems and (figure.kind != "activation" or systems == figure.systems):
            figures[name] = figure.model_copy(update={"systems": systems})
    pages = {
        name: page
        for name, page in study.explanations.items()
        if not any(
            lacking(study, system, [page.collection], exists) for system in filter(None, [*page.systems, page.baseline])
        )
    }
    expected = [value for value in study.expected if not lacking(study, value.system, [value.collection], exists)]
    tables = {name: _table(study, table, exists) for name, table in study.tables.items()}
    return study.model_copy(update={"tables": tables, "figures": figures, "explanations": pages, "expected": expected})


def _config(study: Study) -> str:
    """The values without which another invocation would not know the system."""
    sweep = f" 'sweep=[{', '.join(study.sweep)}]'" if study.sweep else ""
    return f"'presets=[{', '.join(study.presets)}]' scale={study.scale}{sweep}"


def _table(study: Study, table: Table, exists: Exists) -> Table:
    places = [column.collection for column in table.measured_columns]
    missing = {row.system: lacking(study, row.system, places, exists) for row in table.measured_rows}
    uncounted = {name: [key] for name in table.counted_sets if not exists(key := f"training_pairs/{name}")}
    rows = [_row(study, row, missing, uncounted) for row in table.rows]
    return table.model_copy(update={"rows": rows})


def _row(study: Study, row: Row, missing: dict[str, list[str]], uncounted: dict[str, list[str]]) -> Row:
    lost = uncounted.get(row.training_set, []) if row.training_set else missing.get(row.system, [])
    if not lost:
        return row.model_copy(update={"compare": [other for other in row.compare if not missing[other]]})
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    command = f"snakemake --cores all {study.results}/{lost[0]}/manifest.json --config {_config(study)}{more}"
    label, published = row.label or row.name, row.published or row.name
    note = "; ".join(filter(None, [row.note, f"{NOT_RUN}: {command}"]))
    emptied = {"system": "", "training_set": "", "compare": []}
    return row.model_copy(update={**emptied, "label": label, "published": published, "note": note})
