"""Parallel coordinates of a sweep: an axis for each swept key and measure, a line for each point."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from sparsemill.study.derived import label
from sparsemill.tables.sweep_plot import are_numbers
from sparsemill.tables.web import Column, Raw, document, table

_GAP, _TOP, _HEIGHT, _SIDE = 170, 56, 340, 90
_INK, _WORST, _BEST = "#1b1f24", (176, 190, 204), (0, 90, 160)
_CSS = """<style>
svg{width:100%;height:auto;font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
.axis{stroke:#6b7480}.tick{fill:#57606a;paint-order:stroke;stroke:#fff;stroke-width:3px}.name{font-weight:600}
.axis,.tick,.name{pointer-events:none}
.point polyline{fill:none;stroke-width:2.2}.point .wide{stroke:transparent;stroke-width:14}
.point text{visibility:hidden;paint-order:stroke;stroke:#fff;stroke-width:5px;font-weight:600}
svg:hover .point{opacity:.2}svg .point:hover{opacity:1}.point:hover text{visibility:visible}
.point:hover polyline+polyline{stroke-width:4}
</style>"""


class Axis(NamedTuple):
    """A vertical axis: its title, each line's text on it, and each line's height from 0 to 1 (None: no value).

    The axis of a measure is labelled at its ends alone.
    """

    title: str
    texts: list[str]
    heights: list[float | None]
    measured: bool = False


def key_axis(title: str, values: Sequence[Any]) -> Axis:
    """A swept key: its values in equal steps, numbers by size, as they are alone in what was run."""
    distinct = [value for place, value in enumerate(values) if value not in values[:place]]
    order = sorted(distinct) if are_numbers(distinct) else distinct
    steps = max(len(order) - 1, 1)
    return Axis(title, [label(value) for value in values], [order.index(value) / steps for value in values])


def measure_axis(title: str, means: Sequence[float | None]) -> Axis:
    """A measure, from its least to its largest mean."""
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low or 1.0
    texts = ["–" if mean is None else f"{mean:.4g}" for mean in means]
    return Axis(title, texts, [None if mean is None else (mean - low) / span for mean in means], measured=True)


def page(title: str, systems: Mapping[str, str], keys: Sequence[Axis], measures: Sequence[Axis], *, lead: str) -> str:
    """The whole page; a line is coloured by the first measure, and the pointer shows it alone, with its values.

    Args:
        title: heading.
        systems: system -> its name for readers, in the order of the axes' values.
        keys: axes of the swept keys.
        measures: axes of the measures, the first of which gives the colour.
        lead: sentence below the title.
    """
    axes = [*keys, *measures]
    names = list(systems.values())
    lines = "\n".join(_line(number, name, axes, measures[0]) for number, name in enumerate(names))
    width = 2 * _SIDE + _GAP * (len(axes) - 1)
    picture = (
        f'{_CSS}<svg viewBox="0 0 {width} {_TOP + _HEIGHT + 50}" role="img" aria-label="{escape(title)}">\n'
        f"{lines}\n{''.join(_axis(place, axis) for place, axis in enumerate(axes))}\n</svg>"
    )
    columns = [Column("point"), *(Column(axis.title, number=axis.measured) for axis in axes)]
    rows = [[name, *(axis.texts[number] for axis in axes)] for number, name in enumerate(names)]
    return document(title, lead, Raw(picture), table(columns, rows))


def _x(place: int) -> int:
    return _SIDE + _GAP * place


def _y(height: float) -> float:
    return round(_TOP + _HEIGHT * (1 - height), 1)


def _axis(place: int, axis: Axis) -> str:
    x = _x(place)
    ticks = {height: text for height, text in zip(axis.heights, axis.texts, strict=True) if height is not None}
    if axis.measured or len(ticks) > 8:
        ticks = {height: text for height, text in ticks.items() if height in (0, 1)}
    return (
        f'<line class="axis" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + _HEIGHT}"/>'
        f'<text class="name" x="{x}" y="{_TOP - 34}" text-anchor="middle">{escape(axis.title)}</text>'
        + "".join(_tick(x, height, text) for height, text in ticks.items())
    )


def _tick(x: int, height: float, text: str) -> str:
    """A value beside its axis; above or below it at its ends, where many lines would run level through the text."""
    if 0 < height < 1:
        return f'<text class="tick" x="{x + 7}" y="{_y(height) + 4}">{escape(text)}</text>'
    y = _y(height) + (-8 if height else 18)
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="middle">{escape(text)}</text>'


def _line(number: int, name: str, axes: Sequence[Axis], colour: Axis) -> str:
    places = [(_x(place), axis.heights[number], axis.texts[number]) for place, axis in enumerate(axes)]
    corners = " ".join(f"{x},{_y(height)}" for x, height, _ in places if height is not None)
    strength = colour.heights[number] or 0.0
    shade = ",".join(str(round(low + strength * (high - low))) for low, high in zip(_WORST, _BEST, strict=True))
    told = "; ".join(f"{axis.title} {axis.texts[number]}" for axis in axes)
    values = "".join(
        f'<text x="{x}" y="{_y(height) - 7}" text-anchor="middle" fill="{_INK}">{escape(text)}</text>'
        for x, height, text in places
        if height is not None
    )
    return (
        f'<g class="point"><title>{escape(f"{name}: {told}")}</title><polyline class="wide" points="{corners}"/>'
        f'<polyline points="{corners}" stroke="rgb({shade})"/>{values}'
        f'<text x="{_SIDE}" y="{_TOP + _HEIGHT + 38}" fill="{_INK}">{escape(name)}</text></g>'
    )
