"""References between named entries: every name that is used exists, and names one thing."""

from collections.abc import Iterable, Iterator
from itertools import chain

from sparsemill.errors import UserError
from sparsemill.study.combinations import candidates_only, check_combinations
from sparsemill.study.corpora import check_splits, corpora
from sparsemill.study.cycles import check_cycles
from sparsemill.study.groups import check_groups
from sparsemill.study.hints import nearest
from sparsemill.study.measures import check_measures
from sparsemill.study.models import (
    BUILT_IN,
    SIAMESE,
    CrossEncoderTeacher,
    IdfFile,
    MixtureSet,
    SparseTeacher,
    Study,
    Training,
    TrainingSet,
)
from sparsemill.study.sharing import check_shared_models
from sparsemill.study.specs import retrievers
from sparsemill.study.sweep_points import sweep_points
from sparsemill.tracking.store import check_uri

SYSTEM = "experiment, released checkpoint, teacher or ensemble"
ENCODED = "experiment or released checkpoint"
"""What a row names; what has a model of its own."""

DOCUMENTS = "collection with documents of its own"
Reference = tuple[str, str, Iterable[str], str]
"""Where it stands, the name used, the names there are, what it should name."""


def _training_references(where: str, spec: Training, study: Study) -> Iterator[Reference]:
    yield f"{where}.training_set", spec.training_set, study.training_sets, "training set"
    if spec.ensemble is not None:
        yield f"{where}.ensemble", spec.ensemble, study.ensembles, "ensemble"
    if spec.idf is not None:
        yield f"{where}.idf", spec.idf, study.idfs, "idf"
    if spec.query_backbone is not None:
        yield f"{where}.query_backbone", spec.query_backbone, study.backbones, "backbone"
    tables = spec.retrieval_idf if isinstance(spec.retrieval_idf, dict) else {"": spec.retrieval_idf}
    for collection, name in tables.items():
        if collection:
            yield f"{where}.retrieval_idf", collection, study.collections, "collection"
        if name is not None:
            yield f"{where}.retrieval_idf", name, study.idfs, "idf"


def _sources(study: Study) -> Iterator[Reference]:
    for name, backbone in study.backbones.items():
        if backbone.start_collection is not None:
            yield f"backbones.{name}.start_collection", backbone.start_collection, corpora(study), DOCUMENTS
        for collection in backbone.vocabulary:
            yield f"backbones.{name}.vocabulary", collection, corpora(study), DOCUMENTS
    for name, idf in study.idfs.items():
        for collection in [] if isinstance(idf, IdfFile) else idf.collections:
            yield f"idfs.{name}.collections", collection, corpora(study), DOCUMENTS
        yield f"idfs.{name}.backbone", idf.backbone, study.backbones, "backbone"
    for name in study.training_sets:
        yield from _mined(study, name)
    for name, ensemble in study.ensembles.items():
        for teacher in ensemble.teachers:
            yield f"ensembles.{name}.teachers", teacher, study.teachers, "teacher"


def _teachers(study: Study) -> Iterator[Reference]:
    for name, teacher in study.teachers.items():
        if isinstance(teacher, SparseTeacher) and teacher.experiment is not None:
            yield f"teachers.{name}.experiment", teacher.experiment, study.experiments, "experiment"
        if isinstance(teacher, CrossEncoderTeacher) and teacher.trained is not None:
            yield f"teachers.{name}.trained", teacher.trained, study.cross_encoders, "cross-encoder"
    for name, trained in study.cross_encoders.items():
        where = f"cross_encoders.{name}.training_set"
        yield where, trained.training_set, _plain(study), "training set that is no mixture"


def _plain(study: Study) -> list[str]:
    return [name for name, entry in study.training_sets.items() if isinstance(entry, TrainingSet)]


def _mined(study: Study, name: str) -> Iterator[Reference]:
    where, entry = f"training_sets.{name}", study.training_sets[name]
    if isinstance(entry, MixtureSet):
        for member in entry.sets:
            yield f"{where}.sets", member, _plain(study), "training set that is no mixture"
    elif isinstance(entry, TrainingSet):
        yield f"{where}.collection", entry.collection, corpora(study), DOCUMENTS
        # What a file of scores lists has a score there; the documents of another miner beside it would have none.
        kinds = [*SIAMESE, *(["scores"] if len(entry.searchers) == 1 else [])]
        teachers = [teacher for teacher, spec in study.teachers.items() if spec.kind in kinds]
        for miner in entry.searchers:
            what = f"experiment, released checkpoint or teacher of kind {', '.join(kinds)}"
            yield f"{where}.{'miners' if entry.miners else 'miner'}", miner, [*retrievers(study), *teachers], what
        if entry.false_negatives is not None:
            yield f"{where}.false_negatives.teacher", entry.false_negatives.teacher, study.teachers, "teacher"


def _trained(study: Study) -> Iterator[Reference]:
    for name, pretraining in study.pretrainings.items():
        yield from _training_references(f"pretrainings.{name}", pretraining, study)
        yield f"pretrainings.{name}.backbone", pretraining.backbone, study.backbones, "backbone"
    for name, experiment in study.experiments.items():
        yield from _training_references(f"experiments.{name}", experiment, study)
        starts = [*study.backbones, *study.pretrainings]
        yield f"experiments.{name}.start", experiment.start, starts, "backbone or pre-training"
        if experiment.model is not None:
            yield f"experiments.{name}.model", experiment.model, study.experiments, "experiment"


def _shown(study: Study) -> Iterator[Reference]:
    systems = system_names(study)
    places = [*study.collections, *study.groups]
    for name, table in study.tables.items():
        yield from _cited_and_counted(study, name)
        for row in table.measured_rows:
            yield f"tables.{name}.rows", row.system, systems, SYSTEM
            for other in row.compare:
                yield f"tables.{name}.rows.{row.system}.compare", other, [r.system for r in table.rows], "row"
        for column in table.measured_columns:
            yield f"tables.{name}.columns", column.collection, places, "collection or group"
    for name, figure in study.figures.items():
        for entry in figure.published:
            yield f"figures.{name}.published", entry, study.published, "published table"
        if figure.sweep is not None:
            yield f"figures.{name}.sweep", figure.sweep, study.sweep, "chosen sweep"
            keys = next(iter(sweep_points(study, figure.sweep).values()), {}) if figure.sweep in study.sweep else {}
            yield f"figures.{name}.key", figure.key, keys, f"swept key of {figure.sweep}"
        any_system = figure.kind != "activation"
        drawn = (places, "collection or group") if any_system else (study.collections, "collection")
        yield f"figures.{name}.collection", figure.collection, *drawn
        for system in figure.systems:
            valid, kind = (systems, SYSTEM) if any_system else (retrievers(study), ENCODED)
            yield f"figures.{name}.systems", system, valid, kind
    for name, page in study.explanations.items():
        yield f"explanations.{name}.collection", page.collection, study.collections, "collection"
        for system in page.systems:
            yield f"explanations.{name}.systems", system, retrievers(study), ENCODED
        if page.baseline is not None:
            yield f"explanations.{name}.baseline", page.baseline, systems, SYSTEM
    for expected in study.expected:
        yield "expected.system", expected.system, systems, SYSTEM
        yield "expected.collection", expected.collection, places, "collection or group"


def _cited_and_counted(study: Study, name: str) -> Iterator[Reference]:
    table = study.tables[name]
    for entry in table.published:
        yield f"tables.{name}.published", entry, study.published, "published table"
    rows = [row for entry in table.published if entry in study.published for row in study.published[entry].rows]
    for row in table.rows:
        if row.published is not None:
            yield f"tables.{name}.rows.published", row.published, rows, "published row"
        if row.training_set:
            yield f"tables.{name}.rows", row.training_set, study.training_sets, "training set"


def _engines(study: Study) -> Iterator[Reference]:
    yield "engine", study.engine, [*BUILT_IN, *study.engines], "engine"
    yield "check_engine", study.check_engine, [*BUILT_IN, "none", *study.engines], "engine"
    for name, entry in study.engines.items():
        if entry.index is not None:
            alike = [other for other, spec in study.engines.items() if other != name and spec.index is None]
            yield f"engines.{name}.index", entry.index, alike, "engine with an index of its own"


def system_names(study: Study) -> list[str]:
    """Names of everything that can be a row of a table."""
    ranking = [name for name in (*study.teachers, *study.ensembles) if not candidates_only(study, name)]
    return [*retrievers(study), *ranking]


def _unknown(study: Study, where: str, name: str, valid: Iterable[str], kind: str) -> UserError:
    culprit = candidates_only(study, name) if kind == SYSTEM else ""
    if culprit:
        what = "" if culprit == name else f"has the teacher {culprit}, which "
        return UserError(
            f"config: {where}: {name} {what}is of kind {study.teachers[culprit].kind} and scores candidates only; "
            f"a system that searches is an experiment, a released checkpoint, a teacher of kind {', '.join(SIAMESE)}, "
            "or an ensemble of such"
        )
    return UserError(f"config: {where}: no {kind} {name!r}; {nearest(name, valid)}")


def _check_names_are_distinct(study: Study) -> None:
    for sections in (("experiments", "released", "teachers", "ensembles"), ("backbones", "pretrainings")):
        seen: dict[str, str] = {}
        for section in sections:
            for name in getattr(study, section):
                if name in seen:
                    raise UserError(f"config: {section}.{name}: {seen[name]} has an entry of that name too; rename one")
                seen[name] = section


def check_references(study: Study) -> None:
    """Raise a UserError for the first name that does not exist or stands for two things, or that nothing measures."""
    _check_names_are_distinct(study)
    check_splits(study)
    check_groups(study)
    sections = (_engines, _sources, _teachers, _trained, _shown)
    for where, name, valid, kind in chain.from_iterable(section(study) for section in sections):
        if name not in set(valid):
            raise _unknown(study, where, name, valid, kind)
    check_combinations(study)
    check_shared_models(study)
    if study.tracking.uri:
        check_uri(study.tracking.uri)
    check_cycles(study)
    check_measures(study)
