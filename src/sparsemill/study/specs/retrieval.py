"""Specs of vectors, indexes and runs."""

from sparsemill.study.models import (
    SIAMESE,
    Collection,
    Pretraining,
    Pruning,
    Released,
    ScoresTeacher,
    Study,
    Training,
)
from sparsemill.study.specs.base import (
    Spec,
    dump,
    identity,
    in_two_phases,
    retrievers,
    score_file,
    system_engine,
    system_kind,
    versioned,
)
from sparsemill.study.training_sets import judged

SERVED = {"query_cut", "heap_factor"}
"""Keys of `seismic_engine` that search alone uses."""


def index_spec(study: Study, engine: str) -> Spec:
    """What an entry of `engines` says about its index: neither where it is, nor how it is asked."""
    entry = study.engines[engine]
    return dump(entry, exclude={*entry.CONNECTION, *entry.QUERY, "index"})


def query_spec(study: Study, engine: str) -> Spec:
    """How an entry of `engines` asks its index."""
    entry = study.engines[engine]
    return dump(entry, include={"kind", *entry.QUERY})


def connection_facts(study: Study, engine: str) -> Spec:
    """Where an entry of `engines` is: no part of a spec, so that moving a cluster makes nothing anew."""
    entry = study.engines[engine]
    return {"connection": dump(entry, include=set(entry.CONNECTION))}


def build_index(study: Study, system: str, engine: str) -> Spec:
    """An index; that of BM25 does not depend on k1 and b, and only Lucene's impacts are quantised."""
    if engine in study.engines:
        return versioned("build_index", {"engine": study.engines[engine].kind, "cluster": index_spec(study, engine)})
    if system_kind(study, system) == "bm25":
        analysed = dump(study.teachers[system], exclude={"kind", "k1", "b"})
        return versioned("build_index", {"engine": "bm25", **analysed})
    spec: Spec = {"engine": engine}
    if engine == "lucene":
        spec["quantisation"] = retrievers(study)[system].quantisation
    elif engine == "exact":
        spec |= dump(retrievers(study)[system], include={"postings"})
    elif engine == "seismic":
        spec["seismic"] = dump(study.seismic_engine, exclude=SERVED)
    return versioned("build_index", spec)


def collection_rules(collection: Collection) -> Spec:
    return {"split": collection.split, "self_hits": collection.self_hits}


def code(study: Study, trained: Training | Released) -> Spec:
    """`trust_remote_code` where the weights that a model comes from bring code that the config allows; else nothing."""
    if isinstance(trained, Released):
        return {"trust_remote_code": True} if getattr(trained.weights, "trust_remote_code", False) else {}
    start = trained.backbone if isinstance(trained, Pretraining) else getattr(trained, "start", None)
    found = code(study, study.pretrainings[start]) if start in study.pretrainings else {}
    for name in (start, trained.query_backbone):
        if name in study.backbones and getattr(study.backbones[name].weights, "trust_remote_code", False):
            found = {"trust_remote_code": True}
    return found


def queries(study: Study, system: str, *, device: str) -> Spec:
    """How a retriever's queries are encoded; see `sparsemill.retrieval.queries.open_queries`."""
    chosen = retrievers(study)[system]
    spec: Spec = {"query_length": chosen.query_length}
    if isinstance(chosen, Released) and not chosen.siamese:
        spec["special_tokens"] = chosen.special_tokens
    if chosen.siamese:
        spec["encoder"] = {
            "device": device,
            "precision": study.encode_precision,
            "tokens": study.encode_tokens,
            "prune": dump(chosen.query_prune),
            # The Triton kernel runs on a GPU only.
            **(dump(study, include={"head"}) if device != "cpu" else {}),
            **code(study, chosen),
        }
    return spec


def two_phase_spec(study: Study, system: str) -> Spec:
    """`two_phase`, where the system searches so; else nothing."""
    return dump(study.experiments[system], include={"two_phase"}) if system in study.experiments else {}


def search(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """How a system's run is made."""
    kind = system_kind(study, system)
    rules = collection_rules(study.collections[collection])
    spec = {**identity(system, variant, collection, engine), **rules, "kind": kind, "depth": study.depth}
    if kind == "bm25":
        spec |= {**dump(study.teachers[system], exclude={"kind"}), "engine": "bm25"}
    elif kind == "ensemble":
        spec |= dump(study.ensembles[system], exclude={"scale", "rescale_to"})
        return versioned("fuse_runs", spec)
    elif kind in SIAMESE:
        return versioned("search_dense", spec)
    else:
        spec |= queries(study, system, device=study.device) | two_phase_spec(study, system)
        if engine in study.engines:
            spec["cluster"] = query_spec(study, engine)
        elif engine == "seismic":
            spec["seismic"] = dump(study.seismic_engine, include=SERVED)
    return versioned("search", spec)


def miner_variant(study: Study, miner: str) -> str:
    """The variant of a miner that searches: an experiment's model of seed 0."""
    return "seed-0" if miner in study.experiments else "fixed"


def miner_engine(study: Study, miner: str) -> str:
    """The engine that a miner searches with: `mining_engine`, or else that of tables.

    The exact one where that is a cluster: no training waits for a cluster, or is done anew because of one.
    """
    chosen = system_kind(study, miner) in ("experiment", "released") and not in_two_phases(study, miner)
    engine = (chosen and study.mining_engine) or system_engine(study, miner)
    return "exact" if engine in study.engines else engine


def search_training(study: Study, training_set: str, miner: str) -> Spec:
    """A miner's run over the training queries."""
    chosen = judged(study, training_set)
    teacher = study.teachers.get(miner)
    if isinstance(teacher, ScoresTeacher):
        spec = {**identity(miner, "fixed", chosen.collection, "listed"), "scorer": score_file(study, teacher)}
        return versioned("list_scored", {**spec, "split": chosen.split, "depth": chosen.depth})
    spec = search(study, miner, miner_variant(study, miner), chosen.collection, miner_engine(study, miner))
    return {**spec, "split": chosen.split, "depth": chosen.depth}


def encode_corpus(study: Study, system: str, shard: str) -> Spec:
    """Encoding of one shard."""
    chosen = retrievers(study)[system]
    spec: Spec = {
        "encode_length": chosen.encode_length,
        "encode_tokens": study.encode_tokens,
        "precision": study.encode_precision,
        "device": study.device,
        "shard": int(shard),
        "shards": study.shards,
        **dump(study, include={"head"}),
        **code(study, chosen),
    }
    if chosen.prune != Pruning():
        spec["prune"] = dump(chosen.prune)
    return versioned("encode_corpus", spec)
