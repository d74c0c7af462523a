"""Specs of measures of runs, vectors, indexes and clocks."""

from sparsemill.errors import UserError
from sparsemill.study.measures import Asked, asked_times
from sparsemill.study.models import (
    Bm25Teacher,
    SplitOf,
    Study,
)
from sparsemill.study.specs.base import Spec, dump, identity, retrievers, system_engine, system_kind, versioned
from sparsemill.study.specs.retrieval import SERVED, queries, two_phase_spec


def measure_index_size(study: Study, system: str, variant: str, collection: str) -> Spec:
    """The index that the system's run is made with."""
    engine = system_engine(study, system)
    return versioned("measure_index_size", identity(system, variant, collection, engine))


def evaluate_run(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """Measures and judgements."""
    chosen = study.collections[collection]
    spec: Spec = {"measures": study.measures, "split": chosen.split, "relevance": chosen.relevance}
    if isinstance(chosen, SplitOf) and chosen.counts:
        spec["counts"] = chosen.counts
    return versioned("evaluate_run", {**identity(system, variant, collection, engine), **spec})


def measure_sparsity(study: Study, system: str, variant: str, collection: str) -> Spec:
    """FLOPS and lengths."""
    spec: Spec = {"split": study.collections[collection].split, "kind": system_kind(study, system)}
    if system in retrievers(study):
        spec |= queries(study, system, device="cpu") | {"quantisation": retrievers(study)[system].quantisation}
    return versioned("measure_sparsity", {**identity(system, variant, collection, ""), **spec})


def measure_latency(study: Study, system: str, variant: str, collection: str) -> Spec:
    """Latency beside BM25, in Lucene."""
    spec: Spec = {
        "split": study.collections[collection].split,
        "kind": system_kind(study, system),
        "k": 10,
        "passes": 5,
        "queries": 300,
        "bm25": dump(reference_bm25(study)[1], exclude={"kind"}),
    }
    if system in retrievers(study):
        spec |= queries(study, system, device="cpu") | two_phase_spec(study, system)
    else:
        own = dump(study.teachers[system], exclude={"kind"})
        spec |= {"own": own} if own != spec["bm25"] else {}
    return versioned("measure_latency", {**identity(system, variant, collection, "lucene"), **spec})


def bm25_teachers(study: Study) -> dict[str, Bm25Teacher]:
    """All BM25: the one called `bm25`, then the others by name."""
    items = sorted(study.teachers.items(), key=lambda item: (item[0] != "bm25", item[0]))
    return {name: teacher for name, teacher in items if isinstance(teacher, Bm25Teacher)}


def _timed(study: Study, place: Spec, asked: Asked) -> Spec:
    """How the system of that identity and what it is compared with are searched."""
    system, collection = place["system"], place["collection"]
    bm25 = {
        name: dump(study.teachers[name], exclude={"kind"}) for name in {*asked.baselines, system} & {*study.teachers}
    }
    spec: Spec = {
        "split": study.collections[collection].split,
        "kind": system_kind(study, system),
        "options": bm25.get(system, {}),
        "baselines": {name: bm25[name] for name in asked.baselines},
        "queries": 300,
    }
    if system in retrievers(study):
        served = {"seismic": dump(study.seismic_engine, include=SERVED)} if place["engine"] == "seismic" else {}
        spec |= {"query_side": queries(study, system, device="cpu"), "options": served | two_phase_spec(study, system)}
    return place | spec


def measure_engine_time(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """An engine's time alone, at every number of documents that is shown."""
    asked = asked_times(study, "engine_time", system, collection, engine)
    spec = {"depths": asked.numbers, "passes": 5, "warmup": 1}
    place = identity(system, variant, collection, engine)
    return versioned("measure_engine_time", _timed(study, place, asked) | spec)


def measure_serving(study: Study, system: str, variant: str, collection: str, engine: str) -> Spec:
    """What clients of a server see, at every number of them that is shown."""
    asked = asked_times(study, "serving", system, collection, engine)
    load = {"clients": asked.numbers, "requests": 1000, "seconds": 5.0, "rounds": 2, "warmup": 100}
    place = identity(system, variant, collection, engine)
    return versioned("measure_serving", _timed(study, place, asked) | {"k": 10, "load": load})


def reference_bm25(study: Study) -> tuple[str, Bm25Teacher]:
    """Name and settings of the BM25 that latency is compared with: the one called `bm25`, else the first by name."""
    for name, teacher in bm25_teachers(study).items():
        return name, teacher
    raise UserError("config: teachers: there is no teacher of kind bm25 to compare latency with")
