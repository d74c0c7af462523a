"""Specs of the report's own pages."""

from sparsemill.study import plan, specs
from sparsemill.study.models import Study


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


def report_pages(study: Study) -> specs.Spec:
    """What the front page links to: group, title and path of every page."""
    pages = [("Tables", table.caption, f"tables/{name}/table.html") for name, table in study.tables.items()]
    pages += [("Figures", figure.caption, f"figures/{name}/figure.svg") for name, figure in study.figures.items()]
    collections = dict.fromkeys(cell.collection for cell in plan.wanted_cells(study))
    pages += [("Collections", name, f"collection_pages/{name}/collection.html") for name in collections]
    pages += [("Queries", name, f"explain/{name}/explain.html") for name in study.explanations]
    pages += [("About", "Cost", "pages/costs.html"), ("About", "Provenance", "pages/provenance.html")]
    found = [[group, title, f"{study.results}/{path}"] for group, title, path in pages]
    return {"pages": found, "stage_version": specs.VERSIONS["report_pages"]}
