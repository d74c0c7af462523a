"""Means over groups of collections, as rows of the tidy frame."""

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from sparsemill.evaluation.measures import MISSING
from sparsemill.tables.tidy import Record, select, to_frame

Groups = Mapping[str, Mapping[str, float]]
"""Group -> collection -> its share of the mean."""

_ROW = ["system", "variant", "engine", "measure"]


def with_groups(frame: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """A tidy frame with the means of groups as collections of the groups' names.

    A mean is there only where every member has the value: a mean over fewer would look like one over all.
    """
    if not groups:
        return frame
    records = [Record(*row) for row in frame.astype(object).where(frame.notna(), None).to_numpy().tolist()]
    return to_frame([*records, *_means(frame, groups)])


def _means(frame: pd.DataFrame, groups: Groups) -> Iterator[Record]:
    for name, shares in groups.items():
        member = frame[frame["collection"].isin(list(shares)) & (frame["measure"] != MISSING)]
        for (system, variant, engine, measure), rows in member.groupby(_ROW, sort=True):
            if set(rows["collection"]) != set(shares):
                continue
            value = math.fsum(
                shares[place] * value for place, value in zip(rows["collection"], rows["value"], strict=True)
            )
            seed = rows["seed"].iloc[0]
            queries = None if rows["queries"].isna().any() else int(rows["queries"].sum())
            number = None if pd.isna(seed) else int(seed)
            place = (str(system), str(variant), number, name, str(engine), str(measure))
            yield Record(*place, value, queries, f"groups/{name}")


def missing_members(
    frame: pd.DataFrame, shares: Mapping[str, float], system: str, measure: str, *, engines: Mapping[str, str]
) -> list[str]:
    """The members for want of which a system has no mean: empty where all of them have the measure, or none has it.

    Values of an engine that does not feed the system's tables do not count.
    """
    measured = {place for place in shares if len(select(frame, system, place, measure, engines=engines))}
    return [collection for collection in shares if collection not in measured] if measured else []
