"""Specs of the stages that can read measures from MLflow's runs instead of files (`tables_source`)."""

from collections.abc import Iterable

from sparsemill.files import canonical_json, text_hash
from sparsemill.study import edges, plan, specs
from sparsemill.study.models import Study


def _source(study: Study, keys: Iterable[str]) -> specs.Spec:
    """Where the keys' values are, if not in files, and by which settings: hashes of their specs, and of all above them.

    Collections are left out: the specs of some hold what is installed, or a folder, here.
    """
    if study.tables_source == "files":
        return {}
    wanted = set(keys)
    above = [key for key in edges.closure(study, wanted) if key not in wanted and not key.startswith("collections/")]
    return {
        "mlflow": {
            "experiment": study.tracking.experiment,
            "keys": {key: _hash(study, key) for key in wanted},
            "above": sorted({_hash(study, key) for key in above}),
        }
    }


def _hash(study: Study, key: str) -> str:
    return text_hash(canonical_json(specs.by_key(study, key)))


def collect_results(study: Study) -> specs.Spec:
    """What the tidy frame is made of, if not of files."""
    keys = (key for kind in plan.measured(study).values() for key in kind)
    return specs.collect_results(study) | _source(study, keys)


def test_significance(study: Study, table: str) -> specs.Spec:
    """The table's tests, and whose per-query values they take if not from files."""
    return specs.test_significance(study, table) | _source(study, plan.table_evaluations(study, table))
