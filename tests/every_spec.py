"""The spec of any artefact by its key, as the rules cut them."""

from collections.abc import Callable

from sparsemill.files import canonical_json
from sparsemill.study import pages, specs
from sparsemill.study.models import Study

SHOWN: dict[str, Callable[..., specs.Spec]] = {
    "significance": specs.test_significance,
    "tables": specs.render_table,
    "figures": specs.plot_figure,
    "explain": specs.explain_queries,
    "tidy": specs.collect_results,
    "collection_pages": pages.collection_page,
    "sweeps": pages.sweep_page,
    "pages": pages.report_pages,
    "expected": specs.check_expected,
    "store": specs.mlflow_init,
    "published": specs.publish,
    "verified": specs.verify_tracking,
}


def spec_of(study: Study, key: str) -> str:
    """The spec of an artefact, as its rule cuts it."""
    kind, *rest = key.split("/")
    return canonical_json(SHOWN[kind](study, *rest) if kind in SHOWN else specs.by_key(study, key))
