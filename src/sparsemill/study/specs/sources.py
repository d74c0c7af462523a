"""Specs of collections, starting models, IDF tables, and of what teachers say."""

from importlib import metadata
from pathlib import Path

from sparsemill.errors import UserError
from sparsemill.study.models import (
    SIAMESE,
    Bm25Teacher,
    IdfFile,
    ScoresTeacher,
    SparseTeacher,
    SplitOf,
    Study,
)
from sparsemill.study.specs.base import Spec, dump, score_file, versioned
from sparsemill.study.specs.retrieval import code, queries


def _version(package: str) -> str:
    """Version of an installed import package, so that an upgrade reads its docstrings anew."""
    for name in (package, {"sklearn": "scikit-learn"}.get(package, package)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def fetch_collection(study: Study, name: str) -> Spec:
    """Evaluation keys are left out: changing them fetches nothing."""
    if isinstance(chosen := study.collections[name], SplitOf):
        raise UserError(f"config: collections.{name}: is a split of {chosen.of} and not fetched; fetch that one")
    spec = dump(chosen, exclude={"self_hits", "relevance"})
    if spec["kind"] in ("beir_folder", "pairs"):
        spec["path"] = (Path(study.data) / spec["path"]).as_posix()
    elif spec["kind"] == "pydocs":
        spec["versions"] = [_version(package) for package in spec["packages"]]
    return versioned("fetch_collection", spec)


def prepare_backbone(study: Study, name: str) -> Spec:
    """The backbone as configured."""
    return versioned("prepare_backbone", dump(study.backbones[name]))


def prepare_released(study: Study, name: str) -> Spec:
    """The checkpoint and how it reads texts; what becomes of its vectors is left out."""
    drop = {"quantisation", "prune", "query_prune"}
    return versioned("prepare_released", dump(study.released[name], exclude=drop))


def count_idf(study: Study, name: str) -> Spec:
    """The IDF table as configured."""
    chosen = study.idfs[name]
    spec = dump(chosen)
    if isinstance(chosen, IdfFile):
        spec["path"] = (Path(study.data) / chosen.path).as_posix()
    return versioned("count_idf", spec)


def embed_teacher(study: Study, teacher: str, shard: str) -> Spec:
    """Cached embeddings of one shard of a collection."""
    chosen = study.teachers[teacher]
    spec = dump(chosen)
    if isinstance(chosen, SparseTeacher) and chosen.experiment is not None:
        spec |= {"queries": queries(study, chosen.experiment, device=study.device), **dump(study, include={"head"})}
        spec |= code(study, study.experiments[chosen.experiment])
    return versioned(
        "embed_teacher", {**spec, "device": study.device, "shard": int(shard), "shards": shard_count(study, teacher)}
    )


def shard_count(study: Study, teacher: str) -> int:
    """Shards of a teacher's embeddings; BM25's statistics are those of the whole collection, so it has one."""
    return 1 if isinstance(study.teachers[teacher], Bm25Teacher) else study.shards


def score_teacher(study: Study, teacher: str, shard: str) -> Spec:
    """Scores of one shard of the training queries; embeddings know their teacher, other scorers are described here."""
    chosen = study.teachers[teacher]
    spec: Spec = {"teacher": teacher, "shard": int(shard), "shards": study.shards}
    if chosen.kind not in SIAMESE:
        spec["scorer"] = score_file(study, chosen) if isinstance(chosen, ScoresTeacher) else dump(chosen)
        spec["device"] = study.device
    return versioned("score_teacher", spec)


def train_cross_encoder(study: Study, name: str) -> Spec:
    """The cross-encoder as configured."""
    return versioned(
        "train_cross_encoder",
        {**dump(study.cross_encoders[name], exclude={"assumed", "checkpoint_steps"}), "device": study.device},
    )


def normalize_scores(study: Study, method: str) -> Spec:
    """The method alone."""
    del study
    return versioned("normalize_scores", {"normalisation": method})


def aggregate_scores(study: Study, ensemble: str) -> Spec:
    """The ensemble as configured."""
    return versioned("aggregate_scores", dump(study.ensembles[ensemble]))
