"""What the kinds of training sets have in common: in the end, all are judged pairs of collections."""

from sparsemill.errors import UserError
from sparsemill.study.models import MixtureSet, PairFile, PairSet, Study, TrainingSet

_OF_THE_FILE = ("kind", "path", "format", "query", "document", "title", "lines")
_NOT_MINING = {*_OF_THE_FILE, "origin", "search_queries"}


def _collection(pairs: PairSet) -> PairFile:
    keys = {key: getattr(pairs, key) for key in _OF_THE_FILE}
    # A text that is both a query and a document, as in pairs of duplicates, has one id, and never finds itself. A
    # document with a title has another one.
    return PairFile(**keys, split="train", self_hits="drop", max_queries=pairs.search_queries)


def _judged(name: str, pairs: PairSet) -> TrainingSet:
    return TrainingSet(collection=name, **{key: getattr(pairs, key) for key in pairs.model_fields_set - _NOT_MINING})


def expand_pairs(study: Study) -> Study:
    """Replace every training set of kind `pairs` by a collection of its name and the judged pairs of that.

    Raises:
        UserError: there is a collection of that name already.
    """
    pairs = {name: entry for name, entry in study.training_sets.items() if isinstance(entry, PairSet)}
    for name in pairs:
        if name in study.collections:
            raise UserError(f"config: training_sets.{name}: collections has an entry of that name too; rename one")
    collections = study.collections | {name: _collection(entry) for name, entry in pairs.items()}
    judged = study.training_sets | {name: _judged(name, entry) for name, entry in pairs.items()}
    return study.model_copy(
        update={"collections": dict(sorted(collections.items())), "training_sets": dict(sorted(judged.items()))}
    )


def judged(study: Study, name: str) -> TrainingSet:
    """A training set that is no mixture.

    Raises:
        UserError: it is one.
    """
    entry = study.training_sets[name]
    if not isinstance(entry, TrainingSet):
        raise UserError(f"config: training_sets.{name}: is of kind {entry.kind}; one of its sets is needed here")
    return entry


def members(study: Study, name: str) -> dict[str, float]:
    """The sets that a training set consists of, by name, with their weights; itself if it is no mixture."""
    entry = study.training_sets[name]
    return dict(sorted(entry.sets.items())) if isinstance(entry, MixtureSet) else {name: 1.0}
