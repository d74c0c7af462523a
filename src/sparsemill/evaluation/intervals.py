"""Confidence intervals of means over queries, by the percentile bootstrap."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from sparsemill.evaluation.significance import Comparison, PerQuery

RESAMPLES = 5_000
_AT_ONCE = 2**22  # values drawn at once
Values = Mapping[tuple[str, str], PerQuery]
Samples = list[npt.NDArray[np.float64]]


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


class Mean(NamedTuple):
    """A system's mean on a collection or group, with the ends of its interval; None where a sample is too small."""

    system: str
    collection: str
    mean: float
    low: float | None
    high: float | None


def interval(samples: Samples, shares: Sequence[float], *, level: float, seed: int = 0) -> Interval | None:
    """Interval of the weighted sum of the samples' means; None where a sample has fewer than two values.

    Queries are resampled within their own collection: collections are fixed, queries are the sample.

    Args:
        samples: per-query values of each collection.
        shares: weight of each sample's mean.
        level: for example 0.95.
        seed: the same seed gives the same interval.
    """
    if any(sample.size < 2 for sample in samples):
        return None

    def weighted(*drawn: npt.NDArray[np.float64], axis: int) -> Any:
        return sum(share * sample.mean(axis=axis) for share, sample in zip(shares, drawn, strict=True))

    found = stats.bootstrap(
        samples,
        weighted,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // sum(sample.size for sample in samples)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def _samples(values: Values, system: str, shares: Mapping[str, float], baseline: str = "") -> Samples:
    """A system's per-query values on each collection, or its differences from a baseline; queries in order."""
    found = []
    for collection in shares:
        mine = values[system, collection]
        other = values[baseline, collection] if baseline else dict.fromkeys(mine, 0.0)
        found.append(np.array([mine[query] - other[query] for query in sorted(mine)], dtype=np.float64))
    return found


def means(
    values: Values, systems: Iterable[str], places: Mapping[str, Mapping[str, float]], *, level: float
) -> list[Mean]:
    """The mean of every system on every place where it has all collections.

    Args:
        values: (system, collection) -> per-query values.
        systems: in the order of the table.
        places: collection or group -> collection -> its share of the mean.
        level: of the intervals.
    """
    found = []
    for system, (name, shares) in itertools.product(systems, places.items()):
        if all((system, collection) in values for collection in shares):
            samples = _samples(values, system, shares)
            mean = sum(share * float(sample.mean()) for share, sample in zip(shares.values(), samples, strict=True))
            ends = interval(samples, list(shares.values()), level=level)
            found.append(Mean(system, name, mean, *(ends or (None, None))))
    return found


def difference(values: Values, pair: Comparison, shares: Mapping[str, float], *, level: float) -> Interval | None:
    """Interval of the mean difference of a comparison, query by query."""
    samples = _samples(values, pair.system, shares, pair.baseline)
    return interval(samples, list(shares.values()), level=level)
