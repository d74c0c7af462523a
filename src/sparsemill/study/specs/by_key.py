"""Specs of what is measured, and of all that it is made from, by key."""

from collections.abc import Callable

from sparsemill.study.models import Study
from sparsemill.study.specs import measured, retrieval, sources, training
from sparsemill.study.specs.base import Spec

_WHOLE: dict[str, Callable[..., Spec]] = {
    "collections": sources.fetch_collection,
    "backbones": sources.prepare_backbone,
    "idfs": sources.count_idf,
    "cross_encoders": sources.train_cross_encoder,
    "mining": retrieval.search_training,
    "candidates": training.mine_candidates,
    "training_pairs": training.count_pairs,
    "false_negatives": training.find_false_negatives,
    "runs": retrieval.search,
    "evaluations": measured.evaluate_run,
    "sparsity": measured.measure_sparsity,
    "latency": measured.measure_latency,
    "index_size": measured.measure_index_size,
    "engine_time": measured.measure_engine_time,
    "serving": measured.measure_serving,
}
"""Heads of keys whose other parts all decide the spec."""


_PARTS: dict[str, tuple[Callable[..., Spec], list[int]]] = {
    "released": (sources.prepare_released, [0]),
    "normalized": (sources.normalize_scores, [2]),
    "targets": (sources.aggregate_scores, [1]),
    "indexes": (retrieval.build_index, [0, 3]),
}
"""Which of the other parts decide it."""
_NUMBERED: dict[str, tuple[Callable[..., Spec], int]] = {
    "embeddings": (sources.embed_teacher, 0),
    "scores": (sources.score_teacher, 1),
    "pretrained": (training.pretrain, 0),
    "models": (training.finetune, 0),
    "vectors": (retrieval.encode_corpus, 0),
}
"""One of them does, and the number of the seed or shard at the key's end."""


def by_key(study: Study, key: str) -> Spec:
    """The spec of an artefact, as its rule cuts it.

    Raises:
        ValueError: it is of another kind: a table, a page, the mirror.
    """
    kind, *rest = key.split("/")
    if kind in _WHOLE:
        return _WHOLE[kind](study, *rest)
    if kind in _PARTS:
        function, places = _PARTS[kind]
        return function(study, *(rest[place] for place in places))
    if kind in _NUMBERED:
        function, place = _NUMBERED[kind]
        return function(study, rest[place], key.rpartition("-")[2])
    raise ValueError(f"{key}: not measured, nor what is measured made from it")
