"""The tidy frame: one row per system, variant, collection, engine and measure.

Columns: `system`, `variant` (`seed-0` or `fixed`), `seed` (nullable), `collection`, `engine` (empty where no engine is
involved), `measure`, `value`, `queries` (how many the value was measured on, nullable), `source` (artefact it was read
from). Everything in this package works from such a frame, wherever it was built.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from sparsemill.errors import UserError
from sparsemill.evaluation.measures import is_ranking_measure

SORT = ["system", "collection", "variant", "engine", "measure"]


class Record(NamedTuple):
    """A row of the tidy frame."""

    system: str
    variant: str
    seed: int | None
    collection: str
    engine: str
    measure: str
    value: float
    queries: int | None
    source: str


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Build a tidy frame, sorted.

    Raises:
        UserError: the same value is there twice.
    """
    frame = pd.DataFrame.from_records(list(records), columns=Record._fields)
    text = ["system", "variant", "collection", "engine", "measure", "source"]
    frame = frame.astype(dict.fromkeys(text, "str") | {"seed": "Int64", "queries": "Int64", "value": "float64"})
    repeated = frame[frame.duplicated(SORT)]
    if len(repeated):
        first = repeated.iloc[0]
        raise UserError(
            f"results: {first.measure} of {first.system} ({first.variant}) on {first.collection} is there twice, "
            f"again in {first.source}"
        )
    return frame.sort_values(SORT, ignore_index=True)


def select(
    frame: pd.DataFrame, system: str, collection: str, measure: str, *, engines: Mapping[str, str]
) -> pd.DataFrame:
    """The rows of one cell, one per variant, sorted by seed.

    Effectiveness is taken from runs of the system's own engine, `engines[system]`, so that a check with a second engine
    feeds no table; a cost has one source, whatever its engine.
    """
    wanted = (frame["system"] == system) & (frame["collection"] == collection) & (frame["measure"] == measure)
    if is_ranking_measure(measure):
        wanted &= frame["engine"] == engines[system]
    return frame[wanted].sort_values(["seed", "variant"])


def values_of(
    frame: pd.DataFrame, system: str, collection: str, measure: str, *, engines: Mapping[str, str]
) -> list[float]:
    """The values of one cell, one per seed; empty where there is none."""
    return [float(value) for value in select(frame, system, collection, measure, engines=engines)["value"]]
