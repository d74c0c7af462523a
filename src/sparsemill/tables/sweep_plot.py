"""Effectiveness against one key of a sweep, a line for each value of the other keys."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd

from sparsemill.errors import UserError
from sparsemill.study.derived import label
from sparsemill.study.models import Figure
from sparsemill.tables.plot_style import COLORS, MARKERS, STYLE, legend_below
from sparsemill.tables.tidy import values_of

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.transforms import ScaledTranslation

BESIDE = 5.0
"""Points between two lines' values at the same place, whose deviations would cover one another."""
DECADES = 10.0
"""Largest over smallest value from which an axis is logarithmic."""


class Mean(NamedTuple):
    """A point of a line: the key's value, mean and sample deviation over its seeds."""

    value: Any
    mean: float
    deviation: float


def lines(
    figure: Figure, frame: pd.DataFrame, *, engines: Mapping[str, str], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[Mean]]:
    """Values of the other keys, in words -> points in the order of the key's values.

    Args:
        figure: `kind` is sweep; `key` is the one on the axis.
        frame: see `sparsemill.tables.tidy`.
        engines: system -> engine whose run feeds the figure.
        settings: system -> swept key -> value.

    Raises:
        UserError: no system has a value.
    """
    found: dict[str, list[Mean]] = {}
    for system, keys in settings.items():
        values = values_of(frame, system, figure.collection, figure.y, engines=engines)
        if values:
            others = ", ".join(f"{key} {label(value)}" for key, value in keys.items() if key != figure.key)
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            found.setdefault(others, []).append(Mean(keys[figure.key], float(np.mean(values)), deviation))
    if not found:
        raise UserError(f"figure {figure.caption!r}: none of its systems has a {figure.y} on {figure.collection}")
    order = _order([point.value for points in found.values() for point in points])
    return {name: sorted(points, key=lambda point: order.index(point.value)) for name, points in found.items()}


def _order(values: Sequence[Any]) -> list[Any]:
    """Distinct values: numbers by size, others as they come."""
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    return sorted(distinct) if are_numbers(distinct) else distinct


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all values are numbers; true and false are none."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def axis_scale(values: Sequence[float]) -> str:
    """`log` where positive values span a decade, `symlog` if 0 is among them, else `linear`."""
    positive = [value for value in values if value > 0]
    if min(values) < 0 or len(positive) < 2 or max(positive) / min(positive) < DECADES:
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def sweep_plot(figure: Figure, drawn: Mapping[str, Sequence[Mean]]) -> Any:
    """Draw what `lines` found: means, and their deviations as bars; joined where the key's values are numbers.

    Returns:
        A matplotlib Figure.
    """
    order = _order([point.value for points in drawn.values() for point in points])
    places = order if are_numbers(order) else list(range(len(order)))
    with mpl.rc_context(STYLE):
        canvas, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        for number, (name, points) in enumerate(drawn.items()):
            aside = ScaledTranslation(BESIDE * (number - (len(drawn) - 1) / 2) / 72, 0, canvas.dpi_scale_trans)
            x = [places[order.index(point.value)] for point in points]
            for sign in (-1, 1):  # matplotlib does not see what a transform of its own moves
                axes.update_datalim([*zip(x, (p.mean + sign * p.deviation for p in points), strict=True)])
            axes.errorbar(
                x,
                [point.mean for point in points],
                yerr=[point.deviation for point in points] if any(point.deviation for point in points) else None,
                color=COLORS[number % len(COLORS)],
                marker=MARKERS[number % len(MARKERS)],
                markeredgecolor="white",
                linestyle="-" if are_numbers(order) else "none",
                linewidth=1.4,
                elinewidth=0.8,
                capsize=2.5,
                label=name or None,
                transform=axes.transData + aside,
            )
        if are_numbers(order):
            scale = axis_scale(order)
            threshold = {"linthresh": min(value for value in order if value > 0)} if scale == "symlog" else {}
            axes.set_xscale(scale, **threshold)
        axes.set_xticks(places, [label(value) for value in order])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(figure.key)
        axes.set_ylabel(f"{figure.y} on {figure.collection}")
        axes.margins(x=0.08, y=0.14)
        if len(drawn) > 1:
            legend_below(axes)
    return canvas
