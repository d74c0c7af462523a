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


def by_key(study: Study, key: str) -> Spec:  # noqa: PLR0911  (one line per kind of artefact)
    """The spec of an artefact, as its rule cuts it.

    Raises:
        ValueError: it is of another kind: a table, a page, the mirror.
    """
    kind, *rest = key.split("/")
    if kind in _WHOLE:
        return _WHOLE[kind](study, *rest)
    number = key.rpartition("-")[2]
    match kind:
        case "released":
            return sources.prepare_released(study, rest[0])
        case "embeddings":
            return sources.embed_teacher(study, rest[0], number)
        case "scores":
            return sources.score_teacher(study, rest[1], number)
        case "normalized":
            return sources.normalize_scores(study, rest[2])
        case "targets":
            return sources.aggregate_scores(study, rest[1])
        case "pretrained":
            return training.pretrain(study, rest[0], number)
        case "models":
            return training.finetune(study, rest[0], number)
        case "vectors":
            return retrieval.encode_corpus(study, rest[0], number)
        case "indexes":
            return retrieval.build_index(study, rest[0], rest[3])
    raise ValueError(f"{key}: not measured, nor what is measured made from it")
