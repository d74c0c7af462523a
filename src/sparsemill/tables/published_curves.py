"""Published points in a figure: below ours where collection and measures are the same, else in a panel of their own."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sparsemill.tables.placement import Anchor


class PublishedCurve(NamedTuple):
    """Points (cost, effectiveness) of one published curve, or a lone point.

    Attributes:
        label: what the paper calls it.
        collection: where it was measured.
        source: paper and figure.
        evidence: how sure the points are.
        points: in the order of the paper.
    """

    label: str
    collection: str
    source: str
    evidence: str
    points: list[tuple[float, float]]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "PublishedCurve":
        """From the spec of `plot_figure`."""
        points = [(float(x), float(y)) for x, y in spec["points"]]
        return cls(spec["label"], spec["collection"], spec["source"], spec["evidence"], points)


def draw_published(axes: Any, curves: Sequence[PublishedCurve], colors: Sequence[str]) -> list[Anchor]:
    """Draw open markers on dotted lines, colours taken in turn; returns a label for each curve, at its last point."""
    anchors = []
    for curve, color in zip(curves, itertools.cycle(colors), strict=False):
        x, y = zip(*curve.points, strict=True)
        axes.plot(
            x,
            y,
            color=color,
            marker="o",
            markersize=5,
            markerfacecolor="white",
            markeredgewidth=1.2,
            linewidth=1.1,
            linestyle=(0, (1, 1.5)),
            zorder=2.5,
        )
        anchors.append(Anchor(x[-1], y[-1], curve.label, color))
    return anchors


def title(curves: Sequence[PublishedCurve]) -> str:
    """What stands above a panel of published curves."""
    sources = ", ".join(dict.fromkeys(curve.source for curve in curves))
    signs = {"digitised": "read off the plot", "recalled": "recalled"}
    doubts = [signs[curve.evidence] for curve in curves if curve.evidence in signs]
    return f"Published: {sources}" + (f" ({', '.join(dict.fromkeys(doubts))})" if doubts else "")


def along(curves: Sequence[PublishedCurve]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The segments of all curves, for labels to keep clear of."""
    return [segment for curve in curves for segment in itertools.pairwise(curve.points)]
