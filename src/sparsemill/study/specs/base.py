"""What specs are made with: versions of stages, kinds and engines of systems."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sparsemill.study.models import (
    Experiment,
    Released,
    ScoresTeacher,
    Study,
)

VERSIONS = {
    "fetch_collection": 1,
    "prepare_backbone": 1,
    "prepare_released": 1,
    "count_idf": 1,
    "embed_teacher": 4,
    "score_teacher": 1,
    "normalize_scores": 1,
    "aggregate_scores": 1,
    "list_scored": 1,
    "mine_candidates": 2,
    "find_false_negatives": 1,
    "count_pairs": 1,
    "train_cross_encoder": 2,
    "pretrain": 5,
    "finetune": 5,
    "encode_corpus": 5,
    "build_index": 2,
    "search": 4,
    "search_dense": 3,
    "fuse_runs": 2,
    "evaluate_run": 2,
    "measure_sparsity": 2,
    "measure_latency": 1,
    "measure_index_size": 1,
    "measure_engine_time": 1,
    "measure_serving": 2,
    "collect_results": 1,
    "test_significance": 3,
    "render_table": 4,
    "plot_figure": 2,
    "check_expected": 2,
    "collection_page": 4,
    "sweep_page": 2,
    "report_pages": 3,
    "explain_queries": 4,
    "mlflow_init": 1,
    "publish": 3,
    "verify_tracking": 1,
}
"""Raise a stage's number when its code changes what it writes."""


Spec = dict[str, Any]


def dump(model: BaseModel, **options: Any) -> Spec:
    dumped: Spec = model.model_dump(mode="json", **options)
    return dumped


def lists_scores(study: Study, miner: str) -> bool:
    """Whether a miner is a file of scores, which nothing searches with."""
    return isinstance(study.teachers.get(miner), ScoresTeacher)


def score_file(study: Study, teacher: ScoresTeacher) -> Spec:
    """The teacher as configured, its path from the working folder."""
    return {**dump(teacher), "path": (Path(study.data) / teacher.path).as_posix()}


def versioned(stage: str, spec: Spec) -> Spec:
    return {**spec, "stage_version": VERSIONS[stage]}


def retrievers(study: Study) -> dict[str, Experiment | Released]:
    """Systems that encode documents with a model of their own."""
    return {**study.experiments, **study.released}


def system_kind(study: Study, system: str) -> str:
    """`experiment`, `released`, `ensemble`, or the kind of a teacher."""
    if system in study.experiments:
        return "experiment"
    if system in study.released:
        return "released"
    if system in study.ensembles:
        return "ensemble"
    return study.teachers[system].kind


def system_engine(study: Study, system: str) -> str:
    """The engine whose run of the system feeds the tables."""
    engines = {
        "experiment": study.engine,
        "released": study.engine,
        "bm25": "lucene",
        "dense": "exact",
        "sparse": "exact",
        "ensemble": "fusion",
    }
    if in_two_phases(study, system):
        return "lucene"
    return engines[system_kind(study, system)]


def in_two_phases(study: Study, system: str) -> bool:
    """Whether the system searches in two phases, which Lucene alone does."""
    return system in study.experiments and study.experiments[system].two_phase is not None


def variants(study: Study, system: str) -> list[str]:
    """`seed-<n>` for each seed of an experiment; `fixed` for what is not trained."""
    if system in study.experiments:
        return [f"seed-{seed}" for seed in study.experiments[system].seeds]
    return ["fixed"]


def _seed(variant: str) -> int | None:
    return int(variant.removeprefix("seed-")) if variant.startswith("seed-") else None


def identity(system: str, variant: str, collection: str, engine: str) -> Spec:
    return {"system": system, "variant": variant, "seed": _seed(variant), "collection": collection, "engine": engine}
