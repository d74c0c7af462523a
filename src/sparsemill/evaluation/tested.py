"""All tests of a table: what `significance.json` holds, wherever the per-query values come from."""

from collections.abc import Mapping
from typing import Any

from sparsemill.evaluation.intervals import RESAMPLES, difference, means
from sparsemill.evaluation.significance import PerQuery, compare, comparisons, with_groups
from sparsemill.study.models import Table


def tested(
    table: Table, own: Mapping[tuple[str, str], PerQuery], *, groups: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Content of `significance.json`: a table's comparisons and intervals, but for those without values.

    Args:
        table: rows, columns and test.
        own: (system, collection) -> per-query values, see `read_per_query`.
        groups: group of collections -> its members' shares.

    Raises:
        UserError: as `compare` and `comparisons`.
    """
    values = with_groups(own, groups)
    pairs = [
        pair
        for pair in comparisons(table)
        if (pair.system, pair.collection) in values and (pair.baseline, pair.collection) in values
    ]
    outcomes = compare(values, pairs, test=table.test, alpha=table.alpha)
    shown = [column.collection for column in table.columns if column.measure == table.test_measure]
    places = {name: groups.get(name, {name: 1.0}) for name in shown}
    level = round(1 - table.alpha, 12)
    found = means(own, [row.system for row in table.rows], places, level=level)
    intervals = [difference(own, pair, places[pair.collection], level=level) for pair in pairs]
    ends = [{"low": None, "high": None} if each is None else each._asdict() for each in intervals]
    return {
        **{"test": table.test, "measure": table.test_measure, "alpha": table.alpha},
        "interval": {"level": level, "method": "percentile bootstrap over queries", "resamples": RESAMPLES},
        "means": [mean._asdict() for mean in found],
        "pairs": [outcome._asdict() | end for outcome, end in zip(outcomes, ends, strict=True)],
    }
