"""Footnotes on queries that a system found nothing for."""

from collections.abc import Iterator, Mapping

import pandas as pd

from sparsemill.evaluation.measures import MISSING, is_ranking_measure
from sparsemill.study.models import Table
from sparsemill.tables.groups import Groups


def missing_notes(table: Table, frame: pd.DataFrame, *, engines: Mapping[str, str], groups: Groups) -> Iterator[str]:
    """A sentence for each row and collection with judged queries that the run has nothing for; of seeds, the most.

    Args:
        table: rows and columns; only columns of effectiveness count.
        frame: see `sparsemill.tables.tidy`.
        engines: system -> engine whose run feeds the table.
        groups: the groups among the columns.
    """
    shown = [column.collection for column in table.measured_columns if is_ranking_measure(column.measure)]
    places = dict.fromkeys(member for name in shown for member in groups.get(name, {name: 1.0}))
    told = frame[frame["measure"] == MISSING]
    for row in table.rows:
        mine = told[(told["system"] == row.system) & (told["engine"] == engines.get(row.system))]
        for place in places:
            found = mine[mine["collection"] == place]
            if len(found):
                most, queries = int(found["value"].max()), int(found["queries"].max())
                label = row.label or row.system
                yield f"{label}: nothing found for {most} of {queries} queries of {place}; they count 0."
