"""What a study asks for: the cells behind its tables and figures, and the artefacts that hold them."""

from itertools import product
from typing import NamedTuple

from sparsemill.study.groups import members
from sparsemill.study.measures import INDEX_SIZE, LATENCY, asked_times, timed_uses, uses
from sparsemill.study.models import Study
from sparsemill.study.specs import in_two_phases, system_engine, system_kind, variants
from sparsemill.study.timings import ENGINES, KINDS
from sparsemill.study.verdicts import claim_evaluations, due_claims, due_values


class Cell(NamedTuple):
    """A variant of a system on a collection."""

    system: str
    variant: str
    collection: str

    @property
    def path(self) -> str:
        """`<system>/<variant>/<collection>`."""
        return "/".join(self)


def wanted_cells(study: Study) -> list[Cell]:
    """Every system and collection that a table, figure or expected value names, once, in order; groups as members."""
    pairs: dict[tuple[str, str], None] = {}
    for table in study.tables.values():
        for column in table.measured_columns:
            pairs |= {(row.system, column.collection): None for row in table.measured_rows}
    for figure in study.figures.values():
        pairs |= {(system, figure.collection): None for system in figure.systems}
    pairs |= {(expected.system, expected.collection): None for expected in study.expected}
    places = {(system, member): None for system, name in pairs for member in members(study, name)}
    return [Cell(system, variant, collection) for system, collection in places for variant in variants(study, system)]


def engines(study: Study, system: str) -> list[str]:
    """Engines whose runs of the system are made: the one that feeds tables, then the cross-check."""
    found = [system_engine(study, system)]
    if in_two_phases(study, system):
        return found
    if system_kind(study, system) in ("experiment", "released") and study.check_engine not in ("none", found[0]):
        found.append(study.check_engine)
    return found


def evaluations(study: Study) -> list[str]:
    """Keys of all evaluations."""
    return [
        f"evaluations/{cell.path}/{engine}" for cell in wanted_cells(study) for engine in engines(study, cell.system)
    ]


def table_evaluations(study: Study, table: str) -> list[str]:
    """Keys of the evaluations that a table's tests and intervals are about: of every row, for its test measure."""
    chosen = study.tables[table]
    systems = dict.fromkeys(system for row in chosen.measured_rows for system in (row.system, *row.compare))
    tested = dict.fromkeys(
        column.collection for column in chosen.measured_columns if column.measure == chosen.test_measure
    )
    return [
        f"evaluations/{system}/{variant}/{collection}/{system_engine(study, system)}"
        for system in systems
        for variant in variants(study, system)
        for collection in dict.fromkeys(member for name in tested for member in members(study, name))
    ]


def costs(study: Study, kind: str) -> list[str]:
    """Keys of all `sparsity` measurements, or of the shown ones of `latency` or `index_size`; of sparse systems."""
    kinds = ["experiment", "released", "bm25", *(["sparse"] if kind == "sparsity" else [])]
    sparse = [cell for cell in wanted_cells(study) if system_kind(study, cell.system) in kinds]
    if kind != "sparsity":
        measures = LATENCY if kind == "latency" else (INDEX_SIZE,)
        shown = [use for use in uses(study) if use.measure in measures]
        wanted = {
            (system, member)
            for use in shown
            for system, name in product(use.systems, use.collections)
            for member in members(study, name)
        }
        sparse = [cell for cell in sparse if (cell.system, cell.collection) in wanted]
    return [f"{kind}/{cell.path}" for cell in sparse]


def _timed_engines(study: Study, system: str) -> tuple[str, ...]:
    if system_kind(study, system) == "bm25" or in_two_phases(study, system):
        return ("lucene",)
    return ENGINES if system_kind(study, system) in ("experiment", "released") else ()


def times(study: Study, kind: str) -> list[str]:
    """Keys of all shown `engine_time` or `serving` measurements: of experiments, and of BM25 in Lucene."""
    if not timed_uses(study, kind):  # the cells of a whole paper are many
        return []
    return [
        f"{kind}/{cell.path}/{engine}"
        for cell in wanted_cells(study)
        for engine in _timed_engines(study, cell.system)
        if asked_times(study, kind, cell.system, cell.collection, engine).numbers
    ]


def pair_counts(study: Study) -> list[str]:
    """Keys of the counts of training sets that tables show."""
    shown = dict.fromkeys(name for table in study.tables.values() for name in table.counted_sets)
    return [f"training_pairs/{name}" for name in shown]


def measured(study: Study) -> dict[str, list[str]]:
    """Keys of everything that is measured, by kind."""
    return {
        "evaluation": evaluations(study),
        "sparsity": costs(study, "sparsity"),
        "latency": costs(study, "latency"),
        "index_size": costs(study, "index_size"),
        "training_pairs": pair_counts(study),
        **{kind: times(study, kind) for kind in KINDS},
    }


def findings(study: Study) -> list[str]:
    """Keys of what a study finds: tables, figures, pages of queries and collections, verdicts."""
    found = [f"tables/{table}" for table in study.tables] + [f"figures/{figure}" for figure in study.figures]
    found += [f"explain/{name}" for name in study.explanations]
    found += [f"sweeps/{name}" for name in study.sweep if f"sweep-{name}" in study.tables]
    found += [f"collection_pages/{name}" for name in dict.fromkeys(cell.collection for cell in wanted_cells(study))]
    return found + ["expected"] * bool(study.expected or due_values(study) or due_claims(study))


def results(study: Study) -> list[str]:
    """Keys of what a study ends in, before it is published: what it finds, and the pages about all of it."""
    return [*findings(study), "pages"]


def of_paper(study: Study, paper: str) -> list[str]:
    """Keys of a paper's tables and figures, and of the verdicts."""
    found = [f"tables/{name}" for name, table in study.tables.items() if table.paper == paper]
    found += [f"figures/{name}" for name, figure in study.figures.items() if figure.paper == paper]
    return found + [key for key in results(study) if key == "expected"]


def judged_evaluations(study: Study) -> list[str]:
    """Keys of the evaluations that the claims are judged by."""
    return [
        f"evaluations/{system}/{variant}/{collection}/{system_engine(study, system)}"
        for system, collections in claim_evaluations(study).items()
        for variant in variants(study, system)
        for collection in collections
    ]
