"""Weights on the hub that a study would run, and that nobody has pinned to a commit."""

from sparsemill.errors import UserError
from sparsemill.study import edges, plan
from sparsemill.study.models import HubWeights, Study
from sparsemill.study.outside import weights_of


def unpinned(study: Study) -> list[str]:
    """Ids on the hub, sorted, that something of the study's results is made from and that have no revision."""
    # From MLflow only tables are built, and no weights are needed.
    keys = plan.results(study) if study.tables_source == "files" else [f"tables/{table}" for table in study.tables]
    weights = (weights_of(study, key) for key in edges.closure(study, keys))
    return sorted({one.id for one in weights if isinstance(one, HubWeights) and one.revision is None})


def check_revisions(study: Study) -> None:
    """Raise a UserError that names every id for which a commit must be given before anything runs."""
    ids = unpinned(study)
    if ids:
        told = ", ".join(f"{name}: COMMIT" for name in ids)
        raise UserError(
            f"config: revisions: these weights are not pinned; give the 40 digits of a commit that has safetensors for "
            f"each, --config 'revisions={{{told}}}' or in your overlay"
        )
