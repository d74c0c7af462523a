"""From the raw scores of several teachers to targets: normalise, add, rescale."""

from collections.abc import Sequence

from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import Scores, normalise
from sparsemill.ensemble.rescale import rescale
from sparsemill.study.models import Ensemble


def combine(raw: Sequence[Scores], ensemble: Ensemble) -> Scores:
    """Targets of rows of documents (2411.04403, Eqs. 8 and 9).

    Args:
        raw: of each of the ensemble's teachers [queries, documents]; normalised over the whole row.
        ensemble: how.

    Returns:
        [queries, documents], float32.
    """
    normalised = [normalise(scores, ensemble.normalisation) for scores in raw]
    added = aggregate(normalised, weights=ensemble.weights, scale=ensemble.scale)
    if ensemble.rescale_to is None:
        return added
    return rescale(added, raw[ensemble.teachers.index(ensemble.rescale_to)])
