"""Figures of effectiveness against cost."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import pyplot as plt

from sparsemill.errors import UserError
from sparsemill.study.models import Figure
from sparsemill.tables.placement import Anchor, place_labels, spread
from sparsemill.tables.plot_style import COLORS, MARKERS, MUTED, STYLE, legend_below
from sparsemill.tables.published_curves import PublishedCurve, along, draw_published, title
from sparsemill.tables.tidy import values_of

logger = logging.getLogger(__name__)

CURVE = "--"  # a sweep's members are named SWEEP--KEY-VALUE--KEY-VALUE
_AXES = {
    "FLOPS": "FLOPS (expected tokens shared by a query and a document)",
    "tokens/doc": "Active tokens per document",
    "latency/BM25": "Latency relative to BM25",
}


class Point(NamedTuple):
    """A system in the plane: means over its seeds and their deviations; `x` is None without a cost."""

    system: str
    x: float | None
    y: float
    x_std: float
    y_std: float


def points(figure: Figure, frame: pd.DataFrame, *, engines: Mapping[str, str]) -> list[Point]:
    """The systems of a tradeoff figure that have a value, in its order.

    Raises:
        UserError: none has one.
    """
    found = []
    for system in figure.systems:
        y = values_of(frame, system, figure.collection, figure.y, engines=engines)
        x = values_of(frame, system, figure.collection, figure.x, engines=engines)
        if y:
            found.append(Point(system, float(np.mean(x)) if x else None, float(np.mean(y)), _std(x), _std(y)))
        else:
            logger.warning("figure: %s has no %s on %s and is left out", system, figure.y, figure.collection)
    if not found:
        raise UserError(f"figure {figure.caption!r}: none of its systems has a {figure.y} on {figure.collection}")
    return found


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def curves(found: Sequence[Point]) -> list[list[Point]]:
    """Points with a cost; those of a sweep that differ in their last key only are together, numbers in their order."""
    groups: dict[str, list[Point]] = {}
    for point in found:
        if point.x is not None:
            groups.setdefault(_curve(point.system), []).append(point)
    return [sorted(group, key=_number) if _are_numbers(group) else group for group in groups.values()]


def _number(point: Point) -> float:
    return float(_value(point.system))


def _are_numbers(group: Sequence[Point]) -> bool:
    """Whether the values of a curve have an order, and so a line between them a meaning."""
    return all(_is_number(_value(point.system)) for point in group)


def _curve(system: str) -> str:
    return system.rpartition(CURVE)[0] or system


def tradeoff(
    figure: Figure,
    frame: pd.DataFrame,
    *,
    engines: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
    bases: Mapping[str, str] | None = None,
    published: Sequence[PublishedCurve] = (),
) -> Any:
    """Effectiveness against cost; systems without the cost are horizontal lines.

    Args:
        figure: `kind` is tradeoff.
        frame: see `sparsemill.tables.tidy`.
        engines: system -> engine whose run feeds the figure.
        labels: system -> text beside its point, where it is not the system's name.
        bases: base of a sweep -> what it would be called as a point of it, which it then is.
        published: published curves; those on other collections get a panel of their own.

    Returns:
        A matplotlib Figure.
    """
    labels = labels or {}
    named = bases or {}
    found = [
        point._replace(system=named.get(point.system, point.system)) for point in points(figure, frame, engines=engines)
    ]
    here = [curve for curve in published if curve.collection == figure.collection]
    beside = [curve for curve in published if curve.collection != figure.collection]
    with mpl.rc_context(STYLE):
        size = (7.2 + 5.6 * bool(beside), 4.5)
        canvas, panels = plt.subplots(1, 1 + bool(beside), figsize=size, squeeze=False, layout="constrained")
        axes = panels[0][0]
        drawn = curves(found)
        cited = draw_published(axes, here, [MUTED])
        anchors = [anchor for number, group in enumerate(drawn) for anchor in _draw_curve(axes, group, number, labels)]
        axes.set_xlabel(_AXES.get(figure.x, figure.x))
        axes.set_ylabel(f"{figure.y} on {figure.collection}")
        axes.margins(x=0.12, y=0.14)
        lines = [point for point in found if point.x is None]
        _draw_lines(axes, lines, labels)
        if not drawn:
            axes.set_xticks([])
        if any(len(group) > 1 for group in drawn):
            legend_below(axes)
        if published:
            axes.set_title("Ours" + f"; dotted: {title(here).lower()}" * bool(here), fontsize=9, loc="left")
        place_labels(axes, [*anchors, *cited], obstacles=_obstacles(axes, drawn, lines, along(here)))
        if beside:
            _draw_beside(panels[0][1], figure, beside)
    return canvas


def _draw_beside(axes: Any, figure: Figure, published: Sequence[PublishedCurve]) -> None:
    anchors = draw_published(axes, published, COLORS)
    axes.set_title(title(published), fontsize=9, loc="left")
    axes.set_xlabel(_AXES.get(figure.x, figure.x))
    axes.set_ylabel(f"{figure.y} on {', '.join(dict.fromkeys(curve.collection for curve in published))}")
    axes.margins(x=0.12, y=0.14)
    place_labels(axes, anchors, obstacles=_obstacles(axes, [], [], along(published)))


def _draw_curve(axes: Any, group: Sequence[Point], number: int, labels: Mapping[str, str]) -> list[Anchor]:
    color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
    x, y = [point.x for point in group], [point.y for point in group]
    axes.errorbar(
        x,
        y,
        xerr=[point.x_std for point in group] if any(point.x_std for point in group) else None,
        yerr=[point.y_std for point in group] if any(point.y_std for point in group) else None,
        color=color,
        marker=marker,
        markersize=6.5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        linewidth=1.4,
        linestyle="-" if _are_numbers(group) else "none",
        elinewidth=0.8,
        capsize=2,
        label=_curve_label(group[0].system, labels) if len(group) > 1 else None,
        zorder=3,
    )
    return [
        Anchor(point.x, point.y, _label(point.system, labels, in_curve=len(group) > 1), color)
        for point in group
        if point.x is not None
    ]


def _value(member: str) -> str:
    """The value in the last part of a point's name."""
    return member.rpartition(CURVE)[2].partition("-")[2]


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _label(system: str, labels: Mapping[str, str], *, in_curve: bool) -> str:
    """A member of a curve is named by its value alone; the legend says of what."""
    value = _value(system) if in_curve else ""
    return value or labels.get(system) or system


def _curve_label(member: str, labels: Mapping[str, str]) -> str:
    """What the members of a curve share, and the key they differ in: `s: lambda_d`, `idf-yes: lambda_d`."""
    prefix, _, last = member.rpartition(CURVE)
    sweep, *others = prefix.split(CURVE)
    return f"{labels.get(prefix) or ', '.join(others) or sweep}: {last.partition('-')[0]}"


def _draw_lines(axes: Any, lines: Sequence[Point], labels: Mapping[str, str]) -> None:
    """Horizontal lines, named in the right margin where names cannot meet data."""
    for point in lines:
        axes.axhline(point.y, color=MUTED, linewidth=1.1, linestyle=(0, (5, 3)), zorder=2)
    low, high = axes.get_ylim()
    heights = spread([point.y for point in lines], gap=0.055 * (high - low))
    for point, height in zip(lines, heights, strict=True):
        axes.annotate(
            labels.get(point.system, point.system),
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=8.5,
            annotation_clip=False,
        )


def _obstacles(
    axes: Any,
    drawn: Sequence[Sequence[Point]],
    lines: Sequence[Point],
    more: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> npt.NDArray[np.float64]:
    """Points along curves, deviations, lines and `more` segments, dense enough that no label slips between them."""
    left, right = axes.get_xlim()
    segments = [((left, point.y), (right, point.y)) for point in lines] + list(more)
    for group in drawn:
        corners = [(point.x, point.y, point) for point in group if point.x is not None]
        segments += [((x, y), (to, height)) for (x, y, _), (to, height, _) in itertools.pairwise(corners)]
        segments += [((x - point.x_std, y), (x + point.x_std, y)) for x, y, point in corners if point.x_std]
        segments += [((x, y - point.y_std), (x, y + point.y_std)) for x, y, point in corners if point.y_std]
    steps = np.linspace(0, 1, 60)[:, None]
    along = [np.asarray(start) * (1 - steps) + np.asarray(end) * steps for start, end in segments]
    return np.concatenate(along) if along else np.empty((0, 2))
