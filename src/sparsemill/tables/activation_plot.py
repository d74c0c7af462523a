"""Figure 1 of 2411.04403: how often a token is active against how much the FLOPS penalty holds it down."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from sparsemill.tables.activation import TokenUse, telling_tokens
from sparsemill.tables.placement import Anchor, place_labels
from sparsemill.tables.plot_style import COLORS, MUTED, STYLE

_TICKS = (0, 50, 90, 99, 99.9)


def activation(panels: Sequence[tuple[str, TokenUse]]) -> Any:
    """Activation percentile (x) against FLOPS-penalty percentile (y) by token, one panel for each system.

    The axes are stretched towards 100, where the tokens are that matter: 90 and 99 are as far apart as 99 and 99.9.
    The tokens that the first panel names are named in all of them; those that are never active are listed.

    Args:
        panels: (title, tokens with percentiles) of each system.

    Returns:
        A matplotlib Figure.
    """
    stops, words = telling_tokens(panels[0][1])
    top = max(_stretch(max(use.activation.max(), use.penalty.max())) for _, use in panels) + 0.12
    with mpl.rc_context(STYLE):
        size = (0.6 + 4.4 * len(panels), 4.9)
        canvas, row = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axes, (title, use) in zip(row[0], panels, strict=True):
            _prepare(axes, title, top)
            place_labels(axes, _draw_tokens(axes, use, stops, words))
        row[0][0].set_ylabel("FLOPS-penalty percentile")
        for number, name in enumerate(("stop words", "words of the collection")):
            row[0][0].scatter([], [], s=26, color=COLORS[1 - number], label=name)
        row[0][0].legend(loc="upper left", fontsize=8.5, handletextpad=0.2)
    return canvas


def _stretch(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _prepare(axes: Any, title: str, top: float) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set(xlim=(-0.06, top), ylim=(-0.06, top), aspect="equal", xlabel="Activation percentile")
    ticks = [tick for tick in _TICKS if _stretch(tick) < top]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([_stretch(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.plot([0, top], [0, top], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    note = {"transform": axes.transAxes, "fontsize": 8, "color": MUTED, "style": "italic"}
    axes.text(0.03, 0.80, "penalised more\nthan used", va="top", **note)
    axes.text(0.97, 0.06, "used more\nthan penalised", ha="right", **note)


def _draw_tokens(axes: Any, use: TokenUse, stops: Sequence[str], words: Sequence[str]) -> list[Anchor]:
    x, y = (-np.log10(1 - values / 100) for values in (use.activation, use.penalty))
    axes.scatter(x, y, s=7, color="#9aa4b0", alpha=0.45, linewidths=0, zorder=2, rasterized=True)
    places = {token: index for index, token in enumerate(use.tokens)}
    anchors = []
    for color, tokens in ((COLORS[1], stops), (COLORS[0], words)):
        chosen = [places[token] for token in tokens if token in places]
        axes.scatter(x[chosen], y[chosen], s=26, color=color, edgecolors="white", linewidths=0.6, zorder=4)
        anchors += [Anchor(float(x[index]), float(y[index]), use.tokens[index], color) for index in chosen]
    absent = [token for token in (*stops, *words) if token not in places]
    if absent:
        text = f"never active: {', '.join(absent)}"
        axes.text(0.97, 0.015, text, transform=axes.transAxes, ha="right", fontsize=8, color=MUTED)
    return anchors
