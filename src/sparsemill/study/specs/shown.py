"""Specs of tables, figures, pages, verdicts and the MLflow mirror."""

from collections.abc import Iterable, Sequence

from sparsemill.study.derived import labels as parts
from sparsemill.study.groups import shares
from sparsemill.study.models import (
    SIAMESE,
    Column,
    Expected,
    Row,
    Study,
    Table,
)
from sparsemill.study.published import Value, curves, shown
from sparsemill.study.specs.base import Spec, dump, retrievers, system_engine, versioned
from sparsemill.study.specs.retrieval import queries
from sparsemill.study.sweep_points import sweep_points
from sparsemill.study.sweeps import MEMBER
from sparsemill.study.verdicts import due_claims, due_values


def _engines(study: Study, systems: Iterable[str]) -> dict[str, str]:
    return {system: system_engine(study, system) for system in systems}


def labels(study: Study) -> dict[str, str]:
    """Label of every system in the tables; that of the first table by name wins."""
    found: dict[str, str] = {}
    for table in study.tables.values():
        for row in table.measured_rows:
            if row.label:
                found.setdefault(row.system, row.label)
    return found


def _labels(study: Study, systems: Iterable[str]) -> dict[str, str]:
    known = labels(study)
    return {system: known[system] for system in systems if system in known}


def _sweep_labels(study: Study, systems: Iterable[str]) -> dict[str, str]:
    """Of sweeps with a point among `systems`."""
    named = {name: sweep.label for name, sweep in study.sweeps.items() if sweep.label}
    return {name: label for name, label in named.items() if any(s.startswith(f"{name}{MEMBER}") for s in systems)}


def _bases(study: Study, systems: Sequence[str]) -> dict[str, str]:
    """Base of a sweep of one key -> its name as a point, where the base is shown beside points."""
    found: dict[str, str] = {}
    for name, sweep in study.sweeps.items():
        if sweep.base in systems and any(system.startswith(f"{name}{MEMBER}") for system in systems):
            own = sweep_points(study, name).get(sweep.base, {})
            if len(own) == 1:
                found.setdefault(sweep.base, MEMBER.join([name, *parts(own)]))
    return found


def _groups(study: Study, names: Iterable[str]) -> Spec:
    """`groups`: the shares of those collections that are groups; nothing where none is."""
    found = {name: shares(study, name) for name in names if name in study.groups}
    return {"groups": found} if found else {}


def _cited(study: Study, table: Table) -> Spec:
    """`published`: what is cited beside ours; nothing where nothing is."""
    found = shown(study, table)
    return {"published": found} if found["cells"] else {}


def collect_results(study: Study) -> Spec:
    """Nothing but the inputs."""
    del study
    return versioned("collect_results", {})


def _tested(table: Table) -> Table:
    """What the tests and intervals of a table need: systems, comparisons, places; never its labels or other columns."""
    rows = [Row(system=row.system, compare=row.compare) for row in table.measured_rows]
    tested = [column for column in table.measured_columns if column.measure == table.test_measure]
    columns = [Column(measure=column.measure, collection=column.collection) for column in tested]
    # A table has a row and a column, also where nothing is compared.
    rows, columns = rows or [table.rows[0].model_copy(update={"label": "", "note": ""})], columns or table.columns[:1]
    dropped = {"caption": "", "published": [], "paper": "", "notes": []}
    return table.model_copy(update={**dropped, "rows": rows, "columns": columns})


def test_significance(study: Study, table: str) -> Spec:
    """The table's tests; its other columns and its labels change none of them."""
    chosen = _tested(study.tables[table])
    engines = _engines(study, {system for row in chosen.measured_rows for system in (row.system, *row.compare)})
    groups = _groups(study, (column.collection for column in chosen.columns))
    return versioned("test_significance", {"table": dump(chosen), "engines": engines, **groups})


def render_table(study: Study, table: str) -> Spec:
    """The table as configured."""
    chosen = study.tables[table]
    engines = _engines(study, (row.system for row in chosen.measured_rows))
    groups = _groups(study, (column.collection for column in chosen.measured_columns))
    spec = {"name": table, "table": dump(chosen), "engines": engines, **groups, **_cited(study, chosen)}
    return versioned("render_table", spec)


def plot_figure(study: Study, figure: str) -> Spec:
    """The figure as configured."""
    chosen = study.figures[figure]
    names = _labels(study, chosen.systems) | _sweep_labels(study, chosen.systems)
    spec: Spec = {"name": figure, "figure": dump(chosen), "labels": names, "bases": _bases(study, chosen.systems)}
    spec |= _groups(study, [chosen.collection])
    if chosen.sweep is not None:
        settings = sweep_points(study, chosen.sweep)
        spec["settings"] = {system: settings[system] for system in chosen.systems if system in settings}
    if published := curves(study, chosen):
        spec["published"] = published
    return versioned("plot_figure", {**spec, "engines": _engines(study, chosen.systems)})


def explain_queries(study: Study, name: str) -> Spec:
    """The page as configured."""
    chosen = study.explanations[name]
    collection = study.collections[chosen.collection]
    shown = [*chosen.systems, *([chosen.baseline] if chosen.baseline else [])]
    spec = {
        **dump(chosen),
        "split": collection.split,
        "relevance": collection.relevance,
        "labels": _labels(study, shown),
        "query_lengths": {system: retrievers(study)[system].query_length for system in chosen.systems},
    }
    encoded = {system: queries(study, system, device="cpu") for system in chosen.systems}
    special_tokens = {system: one["special_tokens"] for system, one in encoded.items() if "special_tokens" in one}
    if special_tokens:
        spec["special_tokens"] = special_tokens
    encoders = {system: spec["encoder"] for system, spec in encoded.items() if "encoder" in spec}
    if encoders:
        spec["encoders"] = encoders
    return versioned("explain_queries", spec)


def check_expected(study: Study) -> Spec:
    """The expected values, the published ones that the study must reach, and the claims that it can answer."""
    expected = [*study.expected, *map(_expected, due_values(study))]
    claims = due_claims(study)
    sides = [system for claim in claims.values() for system in (*claim.better, *claim.worse)]
    engines = _engines(study, [*(value.system for value in expected), *sides])
    answered = {"claims": {name: dump(claim) for name, claim in claims.items()}} if claims else {}
    places = [*(value.collection for value in expected), *(claim.collection for claim in claims.values())]
    groups = _groups(study, places)
    values = [dump(item, exclude={"scale"}) for item in expected]
    return versioned("check_expected", {"expected": values, "engines": engines, **groups, **answered})


def _expected(value: Value) -> Expected:
    return Expected(
        system=str(value.system),
        collection=value.collection,
        measure=value.measure,
        value=value.value,
        tolerance=value.tolerance or 0.0,
        source=f"{value.paper}, {value.table}, {value.evidence}",
        tier=value.tier or "expected",
    )


def mlflow_init(study: Study) -> Spec:
    """The tracking store."""
    return versioned(
        "mlflow_init",
        {"uri": study.tracking.uri, "experiments": [study.tracking.experiment], "root": f"{study.results}/mlflow"},
    )


def publish(study: Study) -> Spec:
    """Where to, and which table rows each system feeds."""
    rows: dict[str, list[str]] = {}
    for name, table in study.tables.items():
        for row in table.measured_rows:
            rows.setdefault(row.system, []).append(f"{name}/{row.label or row.system}")
    teachers = [name for name, teacher in study.teachers.items() if teacher.kind in SIAMESE]
    # The registry holds released checkpoints that no row shows.
    systems = [*study.experiments, *(name for name in study.released if name in rows), *teachers, *study.ensembles]
    spec = {"experiment": study.tracking.experiment, "rows": rows, "engines": _engines(study, systems)}
    spec |= dump(study.tracking, include={"upload_mib"})
    shown = [name for name in study.sweep if f"sweep-{name}" in study.tables]
    if shown:
        spec["sweeps"] = {name: [row.system for row in study.tables[f"sweep-{name}"].measured_rows] for name in shown}
    return versioned("publish", spec)


def verify_tracking(study: Study) -> Spec:
    """Which experiment's runs are compared."""
    return versioned("verify_tracking", {"experiment": study.tracking.experiment})
