"""How figures look: colours that the colour-blind tell apart, quiet axes, and files that are the same every time."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

# Okabe and Ito's hues, darkened so that labels in them can be read on white.
COLORS = ("#0072B2", "#C4500A", "#007D5C", "#A8487F", "#5B4FA0", "#806000")
INK, MUTED = "#1b1f24", "#6b7480"
MARKERS = "osD^vPX"
STYLE = {
    "svg.hashsalt": "sparsemill",
    "svg.fonttype": "path",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # labels are what the config says, dollars included
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 100,
}


def legend_below(axes: Any) -> None:
    """A legend under the axis: inside, it would lie on points or on their deviations."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def save(figure: Any, folder: Path) -> None:
    """Write `figure.svg` and `figure.png`; the same figure gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure.savefig(folder / "figure.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", dpi=200)
        figure.savefig(folder / "figure.png", metadata={"Software": None}, bbox_inches="tight", dpi=200)
    plt.close(figure)
