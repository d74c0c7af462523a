"""Systems that share what is the same: an experiment with `model` takes another one's model, vectors and index."""

from sparsemill.errors import UserError
from sparsemill.study import specs
from sparsemill.study.models import Study


def model_of(study: Study, system: str) -> str:
    """The experiment that trains the system's model: itself, or the one that its `model` names."""
    experiment = study.experiments.get(system)
    return system if experiment is None or experiment.model is None else experiment.model


def vectors_of(study: Study, system: str) -> str:
    """The experiment that encodes the system's documents: that of its model, where both encode alike."""
    owner = model_of(study, system)
    if owner == system or specs.encode_corpus(study, owner, "0") == specs.encode_corpus(study, system, "0"):
        return owner
    return system


def index_of(study: Study, system: str, engine: str) -> str:
    """The system whose index this one searches: that of its vectors, or the first BM25, where both index alike.

    Only Lucene's impacts are quantised, and k1 and b of BM25 are chosen at search time.
    """
    bm25 = specs.bm25_teachers(study)
    spec = specs.build_index(study, system, engine)
    owners = bm25 if system in bm25 else [vectors_of(study, system)]
    return next((owner for owner in owners if specs.build_index(study, owner, engine) == spec), system)


def check_shared_models(study: Study) -> None:
    """Raise a UserError for the first experiment that takes a model of another recipe than its own."""
    for name, experiment in study.experiments.items():
        owner = model_of(study, name)
        if owner == name:
            continue
        where = f"config: experiments.{name}"
        if study.experiments[owner].model is not None:
            raise UserError(f"{where}.model: {owner} takes the model of another one itself; name that one")
        missing = set(experiment.seeds) - set(study.experiments[owner].seeds)
        if missing:
            raise UserError(f"{where}.seeds: {owner} has no model of seed {min(missing)}")
        mine, theirs = (specs.finetune(study, one, "0") for one in (name, owner))
        changed = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
        if changed:
            raise UserError(f"{where}.{min(changed)}: not that of {owner}, whose model it takes; remove one of the two")
