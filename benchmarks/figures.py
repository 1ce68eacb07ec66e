"""How the figures of the README and of the documentation look, and how they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # no display is needed

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

WIDTH = 8.6  # inches: 826 pixels in a browser, about the width of a README
INK, GREY, GRID = "#1e293b", "#64748b", "#e2e8f0"
# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
PERCENT = PercentFormatter(decimals=0, symbol="%")  # of values from 0 to 100
PERCENT_OF_ANY_SIZE = FuncFormatter(lambda value, _: f"{value:g}%")
NO_TICKS = NullLocator()
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")  # 1,000 instead of 10^3
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "figure.constrained_layout.h_pad": 0.1,  # inches
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 10.5,
    "lines.linewidth": 1.3,
    "grid.color": GRID,
    "legend.frameon": False,
    "svg.fonttype": "path",  # looks the same wherever the fonts are others
    "svg.hashsalt": "tasearch",  # the same figure, the same bytes
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}


@contextmanager
def styled() -> Iterator[None]:
    """Figures that are made and saved inside look like the others."""
    with matplotlib.rc_context(STYLE):
        yield


def save(figure: Figure, file: Path) -> None:
    """Store a figure as SVG; the same figure gives the same bytes."""
    figure.savefig(file, format="svg", metadata={"Date": None})


def decades(*steps: float) -> LogLocator:
    """Ticks of a logarithmic axis at these multiples of each power of ten."""
    return LogLocator(subs=steps)
