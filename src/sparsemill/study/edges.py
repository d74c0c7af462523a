"""The dependency graph: which artefacts an artefact is made from.

Artefacts are named by their key, the folder below the results folder. The rules take their inputs from here, and so do
the list of what MLflow mirrors and the tests of the graph.
"""

from collections.abc import Iterable, Sequence

from sparsemill.study import plan
from sparsemill.study.corpora import corpus_of
from sparsemill.study.measures import asked_times
from sparsemill.study.mirror import measured
from sparsemill.study.models import (
    SIAMESE,
    CrossEncoderTeacher,
    IdfFile,
    MixtureSet,
    SparseTeacher,
    Study,
    Training,
)
from sparsemill.study.sharing import index_of, model_of, vectors_of
from sparsemill.study.specs import (
    miner_engine,
    miner_variant,
    reference_bm25,
    retrievers,
    shard_count,
    system_engine,
    system_kind,
    variants,
)
from sparsemill.study.timings import has_recall
from sparsemill.study.training_sets import judged, members

Edges = dict[str, list[str]]
"""Input name -> keys."""


def _idf(study: Study, name: str) -> Edges:
    chosen = study.idfs[name]
    backbone = {"backbone": [f"backbones/{chosen.backbone}"]}
    if isinstance(chosen, IdfFile):
        return backbone
    return {"collection": [f"collections/{collection}" for collection in chosen.collections], **backbone}


def _texts(study: Study, collection: str) -> list[str]:
    return [f"collections/{corpus_of(study, collection)}"]


def _embeddings(study: Study, teacher: str, collection: str) -> list[str]:
    collection = corpus_of(study, collection)
    return [f"embeddings/{teacher}/{collection}/shard-{shard}" for shard in range(shard_count(study, teacher))]


def _mining(study: Study, training_set: str, miner: str) -> Edges:
    collection = judged(study, training_set).collection
    found = _run(study, miner, miner_variant(study, miner), collection, miner_engine(study, miner))
    # The collection first, as the first release had it.
    return {"collection": found["collection"], **found}


def _candidates(study: Study, training_set: str) -> Edges:
    chosen = judged(study, training_set)
    runs = [f"mining/{training_set}/{miner}" for miner in chosen.searchers]
    return {"collection": [f"collections/{chosen.collection}"], "run": runs}


def _pair_counts(study: Study, training_set: str) -> Edges:
    sets = members(study, training_set)
    return {
        "collection": [f"collections/{judged(study, name).collection}" for name in sets],
        "candidates": [f"candidates/{name}" for name in sets],
    }


def _shards_of_scores(study: Study, training_set: str, teacher: str) -> list[str]:
    return [f"scores/{training_set}/{teacher}/shard-{shard}" for shard in range(study.shards)]


def _false_negatives(study: Study, training_set: str) -> Edges:
    chosen = judged(study, training_set).false_negatives
    if chosen is None:
        raise ValueError(f"training set {training_set!r} leaves out no false negatives")
    scores = _shards_of_scores(study, training_set, chosen.teacher)
    return {"candidates": [f"candidates/{training_set}"], "scores": scores}


def _embedding(study: Study, teacher: str, collection: str) -> Edges:
    chosen = study.teachers[teacher]
    found = {"collection": [f"collections/{collection}"]}
    if isinstance(chosen, SparseTeacher) and chosen.experiment is not None:
        found["model"] = [f"models/{model_of(study, chosen.experiment)}/seed-{chosen.seed}"]
    return found


def _scores(study: Study, training_set: str, teacher: str) -> Edges:
    collection = judged(study, training_set).collection
    chosen = study.teachers[teacher]
    found = {"collection": [f"collections/{collection}"], "candidates": [f"candidates/{training_set}"]}
    if chosen.kind in SIAMESE:
        found["embeddings"] = _embeddings(study, teacher, collection)
    elif isinstance(chosen, CrossEncoderTeacher) and chosen.trained is not None:
        found["model"] = [f"cross_encoders/{chosen.trained}"]
    return found


def _targets(study: Study, training_set: str, name: str) -> Edges:
    ensemble = study.ensembles[name]
    methods = [f"normalized/{training_set}/{teacher}/{ensemble.normalisation}" for teacher in ensemble.teachers]
    found = {"scores": methods}
    if ensemble.rescale_to is not None:
        found["reference"] = _shards_of_scores(study, training_set, ensemble.rescale_to)
    return found


def _cross_encoder(study: Study, name: str) -> Edges:
    training_set = study.cross_encoders[name].training_set
    collection = judged(study, training_set).collection
    return {"collection": [f"collections/{collection}"], "candidates": [f"candidates/{training_set}"]}


def _mined(study: Study, training_set: str, end: str) -> Edges:
    chosen = judged(study, training_set)
    found = {
        f"collection{end}": [f"collections/{chosen.collection}"],
        f"candidates{end}": [f"candidates/{training_set}"],
    }
    if chosen.false_negatives is not None:
        found[f"false_negatives{end}"] = [f"false_negatives/{training_set}"]
    return found


def _taught(study: Study, spec: Training, training_set: str, end: str) -> Edges:
    if spec.ensemble is None:
        return {}
    if spec.in_batch != "documents":
        return {f"targets{end}": [f"targets/{training_set}/{spec.ensemble}"]}
    collection = judged(study, training_set).collection
    teachers = study.ensembles[spec.ensemble].teachers
    return {f"embeddings_{teacher}{end}": _embeddings(study, teacher, collection) for teacher in teachers}


def _training(study: Study, spec: Training, start: str) -> Edges:
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


def _model(study: Study, experiment: str, seed: str) -> Edges:
    spec = study.experiments[experiment]
    pretrained = spec.start in study.pretrainings
    return _training(study, spec, f"pretrained/{spec.start}/{seed}" if pretrained else f"backbones/{spec.start}")


def _vectors(study: Study, system: str, variant: str, collection: str) -> list[str]:
    owner, collection = vectors_of(study, system), corpus_of(study, collection)
    return [f"vectors/{owner}/{variant}/{collection}/shard-{shard}" for shard in range(study.shards)]


def _trained(study: Study, system: str, variant: str) -> list[str]:
    if system in study.released:
        return [f"released/{system}/{variant}"]
    return [f"models/{model_of(study, system)}/{variant}"]


def _searched(study: Study, system: str, variant: str, collection: str, engine: str) -> list[str]:
    entry = study.engines.get(engine)
    stored = engine if entry is None or entry.index is None else entry.index
    return [f"indexes/{index_of(study, system, stored)}/{variant}/{corpus_of(study, collection)}/{stored}"]


def _index(study: Study, system: str, variant: str, collection: str) -> Edges:
    if system_kind(study, system) == "bm25":
        return {"collection": [f"collections/{collection}"]}
    return {"vectors": _vectors(study, system, variant, collection), "model": _trained(study, system, variant)}


def _query_side(study: Study, system: str, variant: str, collection: str) -> Edges:
    if system not in retrievers(study):
        return {}
    found = {"model": _trained(study, system, variant)}
    chosen = study.experiments[system].retrieval_idf if system in study.experiments else None
    if isinstance(chosen, dict):
        chosen = chosen.get(collection, chosen.get(corpus_of(study, collection)))
    return found if chosen is None else {**found, "idf": [f"idfs/{chosen}"]}


def _run(study: Study, system: str, variant: str, collection: str, engine: str) -> Edges:
    texts = {"collection": _texts(study, collection)}
    kind = system_kind(study, system)
    if kind in ("dense", "sparse"):
        return {**texts, "embeddings": _embeddings(study, system, collection)}
    if kind == "ensemble":
        teachers = study.ensembles[system].teachers
        return {"runs": [f"runs/{name}/fixed/{collection}/{system_engine(study, name)}" for name in teachers]}
    index = {"index": _searched(study, system, variant, collection, engine)}
    return {**index, **texts, **_query_side(study, system, variant, collection)}


def _sparsity(study: Study, system: str, variant: str, collection: str) -> Edges:
    texts = {"collection": _texts(study, collection)}
    if system_kind(study, system) in SIAMESE:
        return {**texts, "vectors": _embeddings(study, system, collection)}
    vectors = {"vectors": _vectors(study, system, variant, collection)}
    return {**vectors, **texts, **_query_side(study, system, variant, collection)}


def _latency(study: Study, system: str, variant: str, collection: str) -> Edges:
    return {
        "index": _searched(study, system, variant, collection, "lucene"),
        "bm25": _searched(study, reference_bm25(study)[0], "fixed", collection, "lucene"),
        "collection": _texts(study, collection),
        **_query_side(study, system, variant, collection),
    }


def _times(study: Study, kind: str, place: Sequence[str]) -> Edges:
    system, variant, collection, engine = place
    compared = asked_times(study, kind, system, collection, engine).baselines
    exact = {"exact": _searched(study, system, variant, collection, "exact")} if has_recall(kind, engine) else {}
    return {
        "index": _searched(study, system, variant, collection, engine),
        "baseline": [key for name in compared for key in _searched(study, name, "fixed", collection, "lucene")],
        **exact,
        "collection": _texts(study, collection),
        **_query_side(study, system, variant, collection),
    }


def _figure(study: Study, name: str) -> Edges:
    figure = study.figures[name]
    if figure.kind != "activation":
        return {"tidy": ["tidy"]}
    found: Edges = {}
    for number, system in enumerate(figure.systems):
        variant = variants(study, system)[0]
        found[f"vectors_{number}"] = _vectors(study, system, variant, figure.collection)
        found[f"model_{number}"] = _trained(study, system, variant)
    return found


def _explanation(study: Study, name: str) -> Edges:
    chosen = study.explanations[name]
    found: Edges = {"collection": _texts(study, chosen.collection)}
    for number, system in enumerate(chosen.systems):
        variant = variants(study, system)[0]
        run = f"runs/{system}/{variant}/{chosen.collection}/{system_engine(study, system)}"
        sides = _query_side(study, system, variant, chosen.collection)
        found |= {f"run_{number}": [run], f"vectors_{number}": _vectors(study, system, variant, chosen.collection)}
        found |= {f"{side}_{number}": keys for side, keys in sides.items()}
        if chosen.pick == "extremes":
            found[f"evaluation_{number}"] = [run.replace("runs/", "evaluations/", 1)]
    if chosen.baseline is not None:
        engine = system_engine(study, chosen.baseline)
        variant = variants(study, chosen.baseline)[0]
        found["run_baseline"] = [f"runs/{chosen.baseline}/{variant}/{chosen.collection}/{engine}"]
    return found


def _verified(study: Study) -> Edges:
    return {
        "tidy": ["tidy"],
        "store": ["store"],
        "published": ["published"],
        "tables": [f"tables/{table}" for table in study.tables],
        "significance": [f"significance/{table}" for table in study.tables],
    }


def _from_source(study: Study, files: Edges) -> Edges:
    """Measured artefacts as files, or the store that holds what they say."""
    return files if study.tables_source == "files" else {"store": ["store"]}


def upstream(study: Study, key: str) -> Edges:  # noqa: PLR0911, PLR0912  (one line per kind of artefact)
    """The inputs of an artefact, by name.

    Raises:
        ValueError: the key is of no kind that a rule makes.
    """
    match key.split("/"):
        case ["collections", _] | ["store"] | ["released", _, _]:
            return {}
        case ["backbones", name]:
            collection = study.backbones[name].start_collection
            return {} if collection is None else {"collection": [f"collections/{collection}"]}
        case ["idfs", name]:
            return _idf(study, name)
        case ["embeddings", teacher, collection, _]:
            return _embedding(study, teacher, collection)
        case ["mining", training_set, miner]:
            return _mining(study, training_set, miner)
        case ["candidates", training_set]:
            return _candidates(study, training_set)
        case ["training_pairs", training_set]:
            return _pair_counts(study, training_set)
        case ["false_negatives", training_set]:
            return _false_negatives(study, training_set)
        case ["scores", training_set, teacher, _]:
            return _scores(study, training_set, teacher)
        case ["normalized", training_set, teacher, _]:
            return {"scores": _shards_of_scores(study, training_set, teacher)}
        case ["targets", training_set, name]:
            return _targets(study, training_set, name)
        case ["cross_encoders", name]:
            return _cross_encoder(study, name)
        case ["pretrained", name, _]:
            return _training(study, study.pretrainings[name], f"backbones/{study.pretrainings[name].backbone}")
        case ["models", name, seed]:
            return _model(study, name, seed)
        case ["vectors", system, variant, collection, _]:
            return {"collection": [f"collections/{collection}"], "model": _trained(study, system, variant)}
        case ["indexes", system, variant, collection, _]:
            return _index(study, system, variant, collection)
        case ["runs", system, variant, collection, engine]:
            return _run(study, system, variant, collection, engine)
        case ["evaluations", system, variant, collection, engine]:
            run = f"runs/{system}/{variant}/{collection}/{engine}"
            return {"run": [run], "collection": _texts(study, collection)}
        case ["sparsity", system, variant, collection]:
            return _sparsity(study, system, variant, collection)
        case ["latency", system, variant, collection]:
            return _latency(study, system, variant, collection)
        case ["index_size", system, variant, collection]:
            return {"index": _searched(study, system, variant, collection, system_engine(study, system))}
        case ["engine_time" | "serving" as kind, *place]:
            return _times(study, kind, place)
        case ["tidy"]:
            return _from_source(study, measured(study))
        case ["significance", table]:
            return _from_source(study, {"evaluations": plan.table_evaluations(study, table)})
        case ["tables", table]:
            return {"tidy": ["tidy"], "significance": [f"significance/{table}"]}
        case ["figures", figure]:
            return _figure(study, figure)
        case ["explain", name]:
            return _explanation(study, name)
        case ["expected"]:
            evaluations = plan.judged_evaluations(study)
            return {"tidy": ["tidy"], **({"evaluations": evaluations} if evaluations else {})}
        case ["collection_pages" | "sweeps", _]:
            return {"tidy": ["tidy"]}
        case ["pages"]:
            return {"artefacts": closure(study, plan.findings(study))}
        case ["published"]:
            return {"store": ["store"], "artefacts": closure(study, plan.results(study))}
        case ["verified"]:
            return _verified(study)
    raise ValueError(f"no rule makes {key!r}")


def closure(study: Study, keys: Iterable[str]) -> list[str]:
    """The artefacts and all they are made from, each once, inputs before what is made from them."""
    found: dict[str, None] = {}

    def visit(key: str) -> None:
        if key not in found:
            for group in upstream(study, key).values():
                for parent in group:
                    visit(parent)
            found[key] = None

    for key in keys:
        visit(key)
    return list(found)
