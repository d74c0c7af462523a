"""Specs of the report's own pages."""

from sparsemill.study import plan, specs
from sparsemill.study.groups import shares
from sparsemill.study.models import Study
from sparsemill.study.sweep_points import sweep_points


def collection_page(study: Study, collection: str) -> specs.Spec:
    """The collection, and how the systems measured on it are called."""
    systems = dict.fromkeys(cell.system for cell in plan.wanted_cells(study) if cell.collection == collection)
    labels = specs.labels(study)
    return {
        "collection": collection,
        "kind": study.collections[collection].kind,
        "engines": {system: specs.system_engine(study, system) for system in systems},
        "labels": {system: labels[system] for system in systems if system in labels},
        "stage_version": specs.VERSIONS["collection_page"],
    }


def sweep_page(study: Study, name: str) -> specs.Spec:
    """What a sweep's table shows, and what its points have in the swept keys."""
    table = study.tables[f"sweep-{name}"]
    rows = {row.system: row.label for row in table.measured_rows}
    collection = table.columns[0].collection
    found = {
        "name": name,
        "collection": collection,
        "measures": [column.measure for column in table.columns],
        "settings": {system: keys for system, keys in sweep_points(study, name).items() if system in rows},
        "labels": {system: label for system, label in rows.items() if label},
        "engines": {system: specs.system_engine(study, system) for system in rows},
        "stage_version": specs.VERSIONS["sweep_page"],
    }
    return found | ({"groups": {collection: shares(study, collection)}} if collection in study.groups else {})


def report_pages(study: Study) -> specs.Spec:
    """What the front page links to: group, title and path of every page."""
    pages = [("Tables", table.caption or name, f"tables/{name}/table.html") for name, table in study.tables.items()]
    pages += [
        ("Figures", figure.caption or name, f"figures/{name}/figure.svg") for name, figure in study.figures.items()
    ]
    pages += [
        ("Sweeps", name, f"sweeps/{name}/parallel.html") for name in study.sweep if f"sweep-{name}" in study.tables
    ]
    collections = dict.fromkeys(cell.collection for cell in plan.wanted_cells(study))
    pages += [("Collections", name, f"collection_pages/{name}/collection.html") for name in collections]
    pages += [("Queries", name, f"explain/{name}/explain.html") for name in study.explanations]
    pages += [("About", "Cost", "pages/costs.html"), ("About", "Provenance", "pages/provenance.html")]
    found = [[group, title, f"{study.results}/{path}"] for group, title, path in pages]
    return {"pages": found, "stage_version": specs.VERSIONS["report_pages"]}
