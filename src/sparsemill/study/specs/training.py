"""Specs of mined candidates and of trained models."""

from collections.abc import Mapping

from pydantic import BaseModel

from sparsemill.errors import UserError
from sparsemill.study.derived import UNTRAINED
from sparsemill.study.models import (
    MixtureSet,
    Study,
    Training,
)
from sparsemill.study.specs.base import Spec, dump, identity, lists_scores, versioned
from sparsemill.study.specs.retrieval import code
from sparsemill.study.training_sets import judged, members


def mine_candidates(study: Study, training_set: str) -> Spec:
    """The training set as configured, without what is left out after mining; `top` means nothing beside windows."""
    chosen = judged(study, training_set)
    spec = dump(chosen, exclude={"false_negatives"} | ({"top"} if chosen.windows else set()))
    if any(lists_scores(study, miner) for miner in chosen.searchers):
        spec["scored_only"] = True
    return versioned("mine_candidates", spec)


def count_pairs(study: Study, training_set: str) -> Spec:
    """The splits that are learned from, of each of its sets."""
    splits = [judged(study, name).split for name in members(study, training_set)]
    return versioned("count_pairs", {**identity(training_set, "fixed", "", ""), "splits": splits})


def find_false_negatives(study: Study, training_set: str) -> Spec:
    """The teacher and the margin."""
    chosen = judged(study, training_set).false_negatives
    if chosen is None:
        raise UserError(f"config: training_sets.{training_set}: has no false_negatives")
    return versioned("find_false_negatives", dump(chosen))


def _training(study: Study, spec: Training, stage: str, seed: int) -> Spec:
    resolved = {
        **dump(spec, exclude=set(UNTRAINED)),
        # As the first release wrote it.
        "in_batch": {"none": False, "documents": True}.get(spec.in_batch, spec.in_batch),
        "ensemble_spec": None if spec.ensemble is None else dump(study.ensembles[spec.ensemble]),
        "device": study.device,
        "seed": seed,
        **dump(study, include={"head"}),
        **code(study, spec),
    }
    if isinstance(study.training_sets[spec.training_set], MixtureSet):
        resolved["mixture"] = members(study, spec.training_set)
    return versioned(stage, resolved)


def pretrain(study: Study, name: str, seed: str) -> Spec:
    """The pre-training as configured, for one seed."""
    return _training(study, study.pretrainings[name], "pretrain", int(seed))


def finetune(study: Study, name: str, seed: str) -> Spec:
    """The experiment as configured, for one seed; keys of encoding and indexing are left out."""
    return _training(study, study.experiments[name], "finetune", int(seed))


def trained_facts(study: Study, key: str) -> Spec:
    """What a training is told beside its spec, and its manifest says: it changes no byte, and retrains nothing."""
    head, name, *_ = key.split("/")
    trained: dict[str, Mapping[str, BaseModel]] = {
        "cross_encoders": study.cross_encoders,
        "pretrained": study.pretrainings,
        "models": study.experiments,
    }
    return dump(trained[head][name], include={"assumed", "checkpoint_steps"})
