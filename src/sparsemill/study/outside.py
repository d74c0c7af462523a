"""What artefacts are made from that no rule makes: weights, and files outside the results folder."""

from collections.abc import Iterable
from pathlib import Path

from sparsemill.files import visible_files
from sparsemill.study.models import (
    SIAMESE,
    WEIGHT_FILES,
    BeirFolder,
    FolderWeights,
    IdfFile,
    PairFile,
    ScoresTeacher,
    Study,
    Weights,
)


def weights_of(study: Study, key: str) -> Weights | None:
    """The weights that an artefact's stage loads, where the config says from where."""
    match key.split("/"):
        case ["backbones", name]:
            return study.backbones[name].weights
        case ["released", name, _]:
            return study.released[name].weights
        case ["cross_encoders", name]:
            return study.cross_encoders[name].weights
        case ["embeddings", teacher, _, _]:
            return getattr(study.teachers[teacher], "weights", None)
        case ["scores", _, teacher, _] if study.teachers[teacher].kind not in SIAMESE:
            return getattr(study.teachers[teacher], "weights", None)
    return None


def outside_files(study: Study, key: str) -> list[str]:
    """Files outside the results folder that an artefact is made from, as far as they exist."""
    return [file.as_posix() for file in _files(study, key) if file.is_file()]


def _files(study: Study, key: str) -> Iterable[Path]:
    data, teachers = Path(study.data), study.teachers
    match key.split("/"):
        case ["collections", name] if isinstance(pairs := study.collections[name], PairFile):
            return [data / pairs.path]
        case ["collections", name] if isinstance(beir := study.collections[name], BeirFolder):
            folder = data / beir.path
            return [folder / "corpus.jsonl", folder / "queries.jsonl", *visible_files(folder / "qrels", "*.tsv")]
        case ["idfs", name] if isinstance(idf := study.idfs[name], IdfFile):
            return [data / idf.path]
        case ["mining", _, name] | ["scores", _, name, _] if isinstance(teacher := teachers.get(name), ScoresTeacher):
            path = data / teacher.path
            return [path] if path.is_file() else visible_files(path, "*.parquet", "*.jsonl")
    weights = weights_of(study, key)
    if not isinstance(weights, FolderWeights):
        return []
    return sorted(file for pattern in WEIGHT_FILES for file in Path(weights.path).rglob(pattern))
