"""Inputs of what is encoded, indexed, searched and measured: see `sparsemill.study.edges`."""

from collections.abc import Sequence

from sparsemill.study.corpora import corpus_of
from sparsemill.study.measures import asked_times
from sparsemill.study.models import SIAMESE, Study
from sparsemill.study.sharing import index_of, model_of, vectors_of
from sparsemill.study.specs import reference_bm25, retrievers, shard_count, system_engine, system_kind
from sparsemill.study.timings import has_recall

Edges = dict[str, list[str]]
"""Input name -> keys."""


def documents_of(study: Study, collection: str) -> list[str]:
    """Keys of the collection whose documents and queries are meant."""
    return [f"collections/{corpus_of(study, collection)}"]


def embeddings_of(study: Study, teacher: str, collection: str) -> list[str]:
    """Keys of a teacher's embeddings of a collection."""
    collection = corpus_of(study, collection)
    return [f"embeddings/{teacher}/{collection}/shard-{shard}" for shard in range(shard_count(study, teacher))]


def vector_shards(study: Study, system: str, variant: str, collection: str) -> list[str]:
    """Keys of a system's encoded documents."""
    owner, collection = vectors_of(study, system), corpus_of(study, collection)
    return [f"vectors/{owner}/{variant}/{collection}/shard-{shard}" for shard in range(study.shards)]


def model_of_system(study: Study, system: str, variant: str) -> list[str]:
    """The key of what encodes for a system."""
    if system in study.released:
        return [f"released/{system}/{variant}"]
    return [f"models/{model_of(study, system)}/{variant}"]


def index_searched(study: Study, system: str, variant: str, collection: str, engine: str) -> list[str]:
    """The key of the index that an engine searches."""
    entry = study.engines.get(engine)
    stored = engine if entry is None or entry.index is None else entry.index
    return [f"indexes/{index_of(study, system, stored)}/{variant}/{corpus_of(study, collection)}/{stored}"]


def of_index(study: Study, system: str, variant: str, collection: str) -> Edges:
    """What an engine's index is built from."""
    if system_kind(study, system) == "bm25":
        return {"collection": [f"collections/{collection}"]}
    model = model_of_system(study, system, variant)
    return {"vectors": vector_shards(study, system, variant, collection), "model": model}


def query_side(study: Study, system: str, variant: str, collection: str) -> Edges:
    """What queries are encoded with; nothing for systems without an encoder."""
    if system not in retrievers(study):
        return {}
    found = {"model": model_of_system(study, system, variant)}
    chosen = study.experiments[system].retrieval_idf if system in study.experiments else None
    if isinstance(chosen, dict):
        chosen = chosen.get(collection, chosen.get(corpus_of(study, collection)))
    return found if chosen is None else {**found, "idf": [f"idfs/{chosen}"]}


def of_run(study: Study, system: str, variant: str, collection: str, engine: str) -> Edges:
    """What a search reads."""
    texts = {"collection": documents_of(study, collection)}
    kind = system_kind(study, system)
    if kind in ("dense", "sparse"):
        return {**texts, "embeddings": embeddings_of(study, system, collection)}
    if kind == "ensemble":
        teachers = study.ensembles[system].teachers
        return {"runs": [f"runs/{name}/fixed/{collection}/{system_engine(study, name)}" for name in teachers]}
    index = {"index": index_searched(study, system, variant, collection, engine)}
    return {**index, **texts, **query_side(study, system, variant, collection)}


def of_sparsity(study: Study, system: str, variant: str, collection: str) -> Edges:
    """What FLOPS and lengths are measured on."""
    texts = {"collection": documents_of(study, collection)}
    if system_kind(study, system) in SIAMESE:
        return {**texts, "vectors": embeddings_of(study, system, collection)}
    vectors = {"vectors": vector_shards(study, system, variant, collection)}
    return {**vectors, **texts, **query_side(study, system, variant, collection)}


def of_index_size(study: Study, system: str, variant: str, collection: str) -> Edges:
    """The index whose size is told."""
    return {"index": index_searched(study, system, variant, collection, system_engine(study, system))}


def of_latency(study: Study, system: str, variant: str, collection: str) -> Edges:
    """Two Lucene indexes: of a system, and of the BM25 that it is compared with."""
    return {
        "index": index_searched(study, system, variant, collection, "lucene"),
        "bm25": index_searched(study, reference_bm25(study)[0], "fixed", collection, "lucene"),
        "collection": documents_of(study, collection),
        **query_side(study, system, variant, collection),
    }


def of_times(study: Study, kind: str, place: Sequence[str]) -> Edges:
    """What engine times and serving are measured on."""
    system, variant, collection, engine = place
    compared = asked_times(study, kind, system, collection, engine).baselines
    exact = {"exact": index_searched(study, system, variant, collection, "exact")} if has_recall(kind, engine) else {}
    return {
        "index": index_searched(study, system, variant, collection, engine),
        "baseline": [key for name in compared for key in index_searched(study, name, "fixed", collection, "lucene")],
        **exact,
        "collection": documents_of(study, collection),
        **query_side(study, system, variant, collection),
    }
