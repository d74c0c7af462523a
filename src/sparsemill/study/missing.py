"""`missing: show`: tables and figures of what has been run; a note says which command runs the rest."""

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sparsemill.study.groups import members
from sparsemill.study.models import Row, Study, Table
from sparsemill.study.specs import system_engine, variants

Exists = Callable[[str], bool]
"""Whether the artefact of a key is there."""
NOT_RUN = "not run"
"""The note of a row that nothing was run for."""


def lacking(study: Study, system: str, places: Iterable[str], exists: Exists) -> list[str]:
    """Keys of the evaluations of a system on collections and groups that are not there."""
    collections = dict.fromkeys(member for place in places for member in members(study, place))
    keys = [
        f"evaluations/{system}/{variant}/{collection}/{system_engine(study, system)}"
        for collection in collections
        for variant in variants(study, system)
    ]
    return [key for key in keys if not exists(key)]


def made_only(study: Study, exists: Exists, overlays: Sequence[Path] = ()) -> Study:
    """The study without what has not been run: its tables keep such rows, with published values, and say the command.

    Figures lose such systems, and are left out when none remains, as pages and expected values are.

    Args:
        study: all of it.
        exists: see `Exists`.
        overlays: what `--configfile` named.
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
    tables = {name: _table(study, name, exists, overlays) for name in study.tables}
    return study.model_copy(update={"tables": tables, "figures": figures, "explanations": pages, "expected": expected})


def _config(study: Study, overlays: Sequence[Path]) -> str:
    """The options without which another invocation would not know the system, or would look for it elsewhere."""
    values = [f"presets=[{', '.join(study.presets)}]", f"scale={study.scale}"]
    if study.results != Study().results:
        values.append(f"results={study.results}")
    if study.sweep:
        values.append(f"sweep={_sweep(study)}")
    if not overlays:
        return shlex.join(["--config", *values])
    # One of the files may say `show`.
    return shlex.join(["--configfile", *map(str, overlays), "--config", *values, "missing=run"])


def _sweep(study: Study) -> str:
    """The chosen sweeps by name; one that is called as its base is, as on the command line, in full."""
    name, *others = study.sweep
    sweep = study.sweeps[name]
    if others or sweep.base != name:
        return f"[{', '.join(study.sweep)}]"
    return json.dumps(sweep.model_dump(exclude_defaults=True) | {"base": name})


def _table(study: Study, name: str, exists: Exists, overlays: Sequence[Path]) -> Table:
    table = study.tables[name]
    places = [column.collection for column in table.measured_columns]
    missing = {row.system: lacking(study, row.system, places, exists) for row in table.measured_rows}
    uncounted = [sets for sets in table.counted_sets if not exists(f"training_pairs/{sets}")]
    rows = [_row(row, missing, uncounted) for row in table.rows]
    if rows == table.rows:
        return table
    command = f"snakemake --cores all {study.results}/tables/{name}/manifest.json {_config(study, overlays)}"
    return table.model_copy(update={"rows": rows, "notes": [*table.notes, f"Rows that were not run: {command}"]})


def _row(row: Row, missing: dict[str, list[str]], uncounted: list[str]) -> Row:
    if not (row.training_set in uncounted or missing.get(row.system)):
        return row.model_copy(update={"compare": [other for other in row.compare if not missing[other]]})
    note = "; ".join(filter(None, [row.note, NOT_RUN]))
    shown = {"label": row.label or row.name, "published": row.published or row.name, "note": note}
    return row.model_copy(update={"system": "", "training_set": "", "compare": [], **shown})
