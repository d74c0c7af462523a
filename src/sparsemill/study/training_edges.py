"""Inputs of what training needs, and of training: see `sparsemill.study.edges`."""

from sparsemill.study.models import SIAMESE, CrossEncoderTeacher, IdfFile, MixtureSet, SparseTeacher, Study, Training
from sparsemill.study.retrieval_edges import Edges, embeddings_of, of_run
from sparsemill.study.sharing import model_of
from sparsemill.study.specs import lists_scores, miner_engine, miner_variant
from sparsemill.study.training_sets import judged, members


def of_backbone(study: Study, name: str) -> Edges:
    """Documents to measure its start on, and those whose tokens it keeps."""
    chosen = study.backbones[name]
    start = [] if chosen.start_collection is None else [f"collections/{chosen.start_collection}"]
    vocabulary = [f"collections/{collection}" for collection in chosen.vocabulary]
    return {name: keys for name, keys in (("collection", start), ("vocabulary", vocabulary)) if keys}


def of_idf(study: Study, name: str) -> Edges:
    """What documents are counted in, and whose tokens."""
    chosen = study.idfs[name]
    backbone = {"backbone": [f"backbones/{chosen.backbone}"]}
    if isinstance(chosen, IdfFile):
        return backbone
    return {"collection": [f"collections/{collection}" for collection in chosen.collections], **backbone}


def of_embedding(study: Study, teacher: str, collection: str) -> Edges:
    """What a siamese teacher embeds, and with what."""
    chosen = study.teachers[teacher]
    found = {"collection": [f"collections/{collection}"]}
    if isinstance(chosen, SparseTeacher) and chosen.experiment is not None:
        found["model"] = [f"models/{model_of(study, chosen.experiment)}/seed-{chosen.seed}"]
    return found


def of_mining(study: Study, training_set: str, miner: str) -> Edges:
    """As a run of the miner on the judged pairs' collection."""
    collection = judged(study, training_set).collection
    if lists_scores(study, miner):
        return {"collection": [f"collections/{collection}"]}
    found = of_run(study, miner, miner_variant(study, miner), collection, miner_engine(study, miner))
    # The collection first, as the first release had it.
    return {"collection": found["collection"], **found}


def of_candidates(study: Study, training_set: str) -> Edges:
    """The runs that candidates are drawn from."""
    chosen = judged(study, training_set)
    runs = [f"mining/{training_set}/{miner}" for miner in chosen.searchers]
    return {"collection": [f"collections/{chosen.collection}"], "run": runs}


def of_pair_counts(study: Study, training_set: str) -> Edges:
    """The candidates of every member of a training set."""
    sets = members(study, training_set)
    return {
        "collection": [f"collections/{judged(study, name).collection}" for name in sets],
        "candidates": [f"candidates/{name}" for name in sets],
    }


def score_shards(study: Study, training_set: str, teacher: str) -> list[str]:
    """Keys of what one teacher says about the candidates."""
    return [f"scores/{training_set}/{teacher}/shard-{shard}" for shard in range(study.shards)]


def of_false_negatives(study: Study, training_set: str) -> Edges:
    """What finds a training set's false negatives.

    Raises:
        ValueError: it leaves out none.
    """
    chosen = judged(study, training_set).false_negatives
    if chosen is None:
        raise ValueError(f"training set {training_set!r} leaves out no false negatives")
    scores = score_shards(study, training_set, chosen.teacher)
    return {"candidates": [f"candidates/{training_set}"], "scores": scores}


def of_scores(study: Study, training_set: str, teacher: str) -> Edges:
    """Candidates, and what a teacher scores them with."""
    collection = judged(study, training_set).collection
    chosen = study.teachers[teacher]
    found = {"collection": [f"collections/{collection}"], "candidates": [f"candidates/{training_set}"]}
    if chosen.kind in SIAMESE:
        found["embeddings"] = embeddings_of(study, teacher, collection)
    elif isinstance(chosen, CrossEncoderTeacher) and chosen.trained is not None:
        found["model"] = [f"cross_encoders/{chosen.trained}"]
    return found


def of_targets(study: Study, training_set: str, name: str) -> Edges:
    """The normalised scores that an ensemble adds up."""
    ensemble = study.ensembles[name]
    methods = [f"normalized/{training_set}/{teacher}/{ensemble.normalisation}" for teacher in ensemble.teachers]
    found = {"scores": methods}
    if ensemble.rescale_to is not None:
        found["reference"] = score_shards(study, training_set, ensemble.rescale_to)
    return found


def _mined(study: Study, training_set: str, end: str) -> Edges:
    chosen = judged(study, training_set)
    found = {
        f"collection{end}": [f"collections/{chosen.collection}"],
        f"candidates{end}": [f"candidates/{training_set}"],
    }
    if chosen.false_negatives is not None:
        found[f"false_negatives{end}"] = [f"false_negatives/{training_set}"]
    return found


def of_cross_encoder(study: Study, name: str) -> Edges:
    """What a cross-encoder of the pipeline's own learns from."""
    return _mined(study, study.cross_encoders[name].training_set, "")


def _taught(study: Study, spec: Training, training_set: str, end: str) -> Edges:
    if spec.ensemble is None:
        return {}
    if spec.in_batch != "documents":
        return {f"targets{end}": [f"targets/{training_set}/{spec.ensemble}"]}
    collection = judged(study, training_set).collection
    teachers = study.ensembles[spec.ensemble].teachers
    return {f"embeddings_{teacher}{end}": embeddings_of(study, teacher, collection) for teacher in teachers}


def _of_training(study: Study, spec: Training, start: str) -> Edges:
    """Inputs of training; those of member k of a mixture end in `_k`."""
    names = members(study, spec.training_set)
    mixture = isinstance(study.training_sets[spec.training_set], MixtureSet)
    ends = {name: f"_{number}" if mixture else "" for number, name in enumerate(names)}
    found: Edges = {"start": [start]}
    for name, end in ends.items():
        found |= _mined(study, name, end)
    if spec.idf is not None:
        found["idf"] = [f"idfs/{spec.idf}"]
    if spec.query_backbone is not None:
        found["query_start"] = [f"backbones/{spec.query_backbone}"]
    for name, end in ends.items():
        found |= _taught(study, spec, name, end)
    return found


def of_pretraining(study: Study, name: str) -> Edges:
    """Inputs of a pre-training."""
    spec = study.pretrainings[name]
    return _of_training(study, spec, f"backbones/{spec.backbone}")


def of_model(study: Study, experiment: str, seed: str) -> Edges:
    """Inputs of a fine-tuning."""
    spec = study.experiments[experiment]
    pretrained = spec.start in study.pretrainings
    return _of_training(study, spec, f"pretrained/{spec.start}/{seed}" if pretrained else f"backbones/{spec.start}")
