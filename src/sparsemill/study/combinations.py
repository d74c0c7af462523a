"""Settings that are right alone and do not go together."""

from sparsemill.errors import UserError
from sparsemill.study.models import BUILT_IN, SIAMESE, SparseTeacher, Study, Training
from sparsemill.study.specs import index_spec


def candidates_only(study: Study, name: str) -> str:
    """The teacher on whose account a teacher or an ensemble cannot search a collection; empty if it can."""
    teachers = study.ensembles[name].teachers if name in study.ensembles else [name]
    return next((one for one in teachers if one in study.teachers and study.teachers[one].kind not in SIAMESE), "")


def _check_engines(study: Study) -> None:
    for name, entry in study.engines.items():
        if name in (*BUILT_IN, "fusion", "none"):
            raise UserError(f"config: engines.{name}: {name} is the name of a built-in engine; rename it")
        if entry.index is not None and index_spec(study, name) != index_spec(study, entry.index):
            raise UserError(
                f"config: engines.{name}: it searches the index of {entry.index}, but says something else of the "
                f"index; start it with `extends: {entry.index}`"
            )


def _check_training(where: str, spec: Training, study: Study) -> None:
    teacher = candidates_only(study, spec.ensemble) if spec.ensemble else ""
    if spec.in_batch == "documents" and teacher:
        raise UserError(
            f"config: {where}.in_batch: {spec.ensemble} has the teacher {teacher}, which is of kind "
            f"{study.teachers[teacher].kind} and scores candidates only; take teachers of kind {', '.join(SIAMESE)}, "
            "or another in_batch"
        )
    alone = spec.documents_per_query == 1
    if alone and (spec.in_batch in ("none", "negatives") or spec.queries_per_step == 1):
        other = f"in_batch: {spec.in_batch}" if spec.queries_per_step > 1 else "queries_per_step: 1"
        raise UserError(f"config: {where}.documents_per_query: 1 with {other} leaves nothing to compare")
    if alone and spec.in_batch == "positives" and (spec.kl_weight or spec.margin_mse_weight):
        raise UserError(
            f"config: {where}.documents_per_query: 1 leaves nothing to distil with in_batch: positives; "
            "use in_batch: documents"
        )


def _check_seeds(study: Study) -> None:
    for name, teacher in study.teachers.items():
        if isinstance(teacher, SparseTeacher) and teacher.experiment is not None:
            seeds = study.experiments[teacher.experiment].seeds
            if teacher.seed not in seeds:
                raise UserError(
                    f"config: teachers.{name}.seed: {teacher.experiment} is not trained with seed {teacher.seed}; "
                    f"its seeds are {', '.join(map(str, seeds))}"
                )


def _check_head(study: Study) -> None:
    for section in ("pretrainings", "experiments", "released") if study.head == "triton" else ():
        for name, spec in getattr(study, section).items():
            if spec.representation == "sum":
                where = f"config: {section}.{name}.representation"
                raise UserError(f"{where}: head: triton computes a maximum, not a sum; set head: chunked")


def check_combinations(study: Study) -> None:
    """Raise a UserError for the first entry whose settings contradict each other, or those of what it names.

    Every name in the study must be known to exist.
    """
    _check_engines(study)
    _check_seeds(study)
    for section in ("pretrainings", "experiments"):
        for name, spec in getattr(study, section).items():
            _check_training(f"{section}.{name}", spec, study)
    _check_head(study)
