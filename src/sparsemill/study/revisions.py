"""Weights on the hub that a study would run, and that nobody has pinned to a commit."""

from pydantic import BaseModel

from sparsemill.errors import UserError
from sparsemill.study import edges, plan
from sparsemill.study.models import HubWeights, Study


def _entry(study: Study, key: str) -> BaseModel | None:
    match key.split("/"):
        case ["backbones", name]:
            return study.backbones[name]
        case ["released", name, *_]:
            return study.released[name]
        case ["embeddings", teacher, *_] | ["scores", _, teacher, *_]:
            return study.teachers[teacher]
        case ["cross_encoders", name]:
            return study.cross_encoders[name]
    return None


def unpinned(study: Study) -> list[str]:
    """Ids on the hub, sorted, that something of the study's results is made from and that have no revision."""
    # From MLflow only tables are built, and no weights are needed.
    keys = plan.results(study) if study.tables_source == "files" else [f"tables/{table}" for table in study.tables]
    entries = (_entry(study, key) for key in edges.closure(study, keys))
    weights = (getattr(entry, "weights", None) for entry in entries)
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
