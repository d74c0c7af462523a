"""Labels beside points, placed so that they cover neither each other nor the data."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_DISTANCES = (5.0, 11.0, 19.0, 29.0, 41.0, 55.0)  # points from the marker to the label
_ANGLES = (30, 150, -30, -150, 90, -90, 0, 180, 60, 120, -60, -120)
_LEADER = 10.0  # a label farther away than this gets a line to its marker


class Anchor(NamedTuple):
    """A labelled point in data coordinates."""

    x: float
    y: float
    text: str
    color: str


class _Box(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: "_Box") -> float:
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def covers(self, points: npt.NDArray[np.float64]) -> int:
        x, y = points[:, 0], points[:, 1]
        return int(((x >= self.x0) & (x <= self.x1) & (y >= self.y0) & (y <= self.y1)).sum())


def place_labels(
    axes: Any, anchors: Sequence[Anchor], *, obstacles: npt.NDArray[np.float64] | None = None, size: float = 8.5
) -> None:
    """Write each anchor's text near its point; greedy, in the order given, the same for the same data.

    Args:
        axes: matplotlib Axes whose limits, scales and legend are final.
        anchors: labelled points; all of them are kept clear.
        obstacles: further points [n, 2] in data coordinates that labels should not cover, for example along curves.
        size: font size in points.
    """
    if not anchors:
        return
    figure = axes.figure
    figure.canvas.draw()
    pixel = figure.dpi / 72
    points = axes.transData.transform([(anchor.x, anchor.y) for anchor in anchors])
    others = np.empty((0, 2)) if obstacles is None else axes.transData.transform(obstacles)
    frame = _Box(*axes.get_window_extent().extents)
    taken: list[_Box] = [_Box(x - 4 * pixel, y - 4 * pixel, x + 4 * pixel, y + 4 * pixel) for x, y in points]
    if legend := axes.get_legend():
        taken.append(_Box(*legend.get_window_extent().extents))
    for anchor, (x, y) in zip(anchors, points, strict=True):
        extent = _text_size(axes, anchor.text, size)
        choices = [
            _candidate(x, y, extent, distance * pixel, angle)
            for distance, angle in itertools.product(_DISTANCES, _ANGLES)
        ]
        costs = [_cost(box, taken, others, frame) + number * 0.02 for number, box in enumerate(choices)]
        best = int(np.argmin(costs))
        box = choices[best]
        taken.append(_Box(box.x0 - pixel, box.y0 - pixel, box.x1 + pixel, box.y1 + pixel))
        leader = {"arrowstyle": "-", "color": anchor.color, "lw": 0.6, "shrinkA": 1, "shrinkB": 3, "alpha": 0.8}
        axes.annotate(
            anchor.text,
            (anchor.x, anchor.y),
            xytext=((box.x0 - x) / pixel, (box.y0 - y) / pixel),
            textcoords="offset points",
            fontsize=size,
            color=anchor.color,
            ha="left",
            va="bottom",
            arrowprops=leader if _DISTANCES[best // len(_ANGLES)] > _LEADER else None,
        )


def spread(positions: Sequence[float], *, gap: float) -> list[float]:
    """The nearest positions (least squares) in the same order that are at least `gap` apart."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    # With k * gap taken off the k-th, distances become an order: pool neighbours that violate it (isotonic regression).
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([positions[index] - rank * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    flat = [_mean(pool) for pool in pools for _ in pool]
    result = [0.0] * len(positions)
    for rank, (index, value) in enumerate(zip(order, flat, strict=True)):
        result[index] = value + rank * gap
    return result


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _text_size(axes: Any, text: str, size: float) -> tuple[float, float]:
    artist = axes.text(0, 0, text, fontsize=size)
    extent = artist.get_window_extent()
    artist.remove()
    return extent.width, extent.height


def _candidate(x: float, y: float, size: tuple[float, float], distance: float, angle: int) -> _Box:
    """The box of a text of that width and height whose nearest edge or corner lies at `distance` and `angle`."""
    width, height = size
    dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    left = x + dx * distance - (width * (1 - np.sign(round(dx, 6))) / 2)
    bottom = y + dy * distance - (height * (1 - np.sign(round(dy, 6))) / 2)
    return _Box(float(left), float(bottom), float(left + width), float(bottom + height))


def _cost(box: _Box, taken: Sequence[_Box], others: npt.NDArray[np.float64], frame: _Box) -> float:
    """Overlaps weigh most, then leaving the frame, then covering other data."""
    area = (box.x1 - box.x0) * (box.y1 - box.y0)
    overlaps = sum(box.overlap(other) for other in taken) / area
    outside = 1 - box.overlap(frame) / area
    return 20 * overlaps + 40 * outside + 0.6 * box.covers(others)
