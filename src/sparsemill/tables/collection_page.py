"""Everything that was measured on one collection, system by system."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from sparsemill.evaluation.measures import MISSING, is_ranking_measure
from sparsemill.tables.layout import number_text, three_digits
from sparsemill.tables.tidy import values_of
from sparsemill.tables.web import Column, Raw, document, heading, inline, table

_COUNTS = ("postings", MISSING)


def page(
    frame: pd.DataFrame, collection: str, *, engines: Mapping[str, str], labels: Mapping[str, str], facts: Sequence[str]
) -> str:
    """The whole page.

    Args:
        frame: see `sparsemill.tables.tidy`.
        collection: whose values are shown.
        engines: system -> engine whose run feeds the tables.
        labels: system -> its name for readers.
        facts: sentences below the title.
    """
    here = frame[frame["collection"] == collection]
    measures = list(dict.fromkeys(here["measure"]))
    ranking = sorted(filter(is_ranking_measure, measures), key=lambda name: (name != "nDCG@10", name))
    costs = sorted((name for name in measures if not is_ranking_measure(name)), key=lambda name: ("_ms" in name, name))

    def values(system: str, measure: str) -> list[float]:
        return values_of(here, system, collection, measure, engines=engines)

    systems = sorted(
        (system for system in here["system"].unique() if system in engines),
        key=lambda system: (-_mean(values(system, ranking[0])) if ranking else 0.0, system),
    )

    def shown(some: Sequence[str]) -> Raw:
        rows = [[_name(system, labels), *(_cell(values(system, one), one) for one in some)] for system in systems]
        kept = [row for row in rows if set(row[1:]) != {"–"}]
        return table([Column("system"), *(Column(measure, number=True) for measure in some)], kept)

    parts = [shown(ranking)] if ranking else []
    parts += [heading("Cost"), shown(costs)] if costs else []
    if ranking and here["engine"].replace("", pd.NA).dropna().nunique() > 1:
        parts += [heading(f"{ranking[0]} by engine"), _by_engine(here, systems, ranking[0], labels)]
    return document(f"Results on {collection}", *facts, *parts)


def _name(system: str, labels: Mapping[str, str]) -> str:
    label = labels.get(system, system)
    return label if label == system else Raw(f"{inline(label)} <code>{inline(system)}</code>")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("-inf")


def _cell(values: Sequence[float], measure: str) -> str:
    """Mean over the seeds; with several, their sample standard deviation."""
    if not values:
        return "–"
    middle = _mean(values)
    digits = 3 if is_ranking_measure(measure) else 0 if measure in _COUNTS else three_digits(middle)
    mean = number_text(middle, digits)
    return mean if len(values) == 1 else f"{mean} ± {number_text(pd.Series(values).std(ddof=1), digits)}"


def _by_engine(here: pd.DataFrame, systems: Iterable[str], measure: str, labels: Mapping[str, str]) -> Raw:
    chosen = here[here["measure"] == measure]
    names = sorted(chosen["engine"].unique())
    rows = [
        [
            _name(system, labels),
            *(
                _cell(list(chosen[(chosen["system"] == system) & (chosen["engine"] == name)]["value"]), measure)
                for name in names
            ),
        ]
        for system in systems
    ]
    return table([Column("system"), *(Column(name, number=True) for name in names)], rows)
