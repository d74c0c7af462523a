"""Specs of the stages that can read measures from MLflow's runs instead of files (`tables_source`)."""

from collections.abc import Iterable

from sparsemill.study import plan, specs
from sparsemill.study.models import Study
from sparsemill.study.timings import KINDS


def measured(study: Study) -> dict[str, list[str]]:
    """Keys of everything that is measured, by kind."""
    return {
        "evaluation": plan.evaluations(study),
        "sparsity": plan.costs(study, "sparsity"),
        "latency": plan.costs(study, "latency"),
        "index_size": plan.costs(study, "index_size"),
        "training_pairs": plan.pair_counts(study),
        **{kind: plan.times(study, kind) for kind in KINDS},
    }


def _source(study: Study, keys: Iterable[str]) -> specs.Spec:
    """Where the keys' values are, if not in files."""
    if study.tables_source == "files":
        return {}
    return {"mlflow": {"experiment": study.tracking.experiment, "keys": sorted(keys)}}


def collect_results(study: Study) -> specs.Spec:
    """What the tidy frame is made of, if not of files."""
    keys = (key for kind in measured(study).values() for key in kind)
    return specs.collect_results(study) | _source(study, keys)


def test_significance(study: Study, table: str) -> specs.Spec:
    """The table's tests, and whose per-query values they take if not from files."""
    return specs.test_significance(study, table) | _source(study, plan.table_evaluations(study, table))
