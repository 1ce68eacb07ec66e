"""Colours, marks and axes that all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log10

import plotly.graph_objects as go

SYMBOLS = {"no teacher": "square", "direct": "circle", "assistants": "diamond"}
LOG_FROM = 8  # ratio of the largest value to the smallest from which an axis is logarithmic
ROUND = (*(m * 10.0**-k for k in range(7, 0, -1) for m in (1, 2, 5)), 1.0)
FEW_TICKS = 3  # an axis has at least as many
ONE_TICK_FROM = 200  # ratio from which a logarithmic axis has ticks at powers of 10 only
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a figure, no two alike: a page replaces those of one theme by another's.

    The three kinds of teaching differ in lightness and have marks of their own, so that they can
    be told apart without colours.

    Args:
        ink: Text and the most important marks.
        soft: Text of less importance.
        line: Axes.
        grid: Lines of the grid.
        band: Bands in the background.
        paper: The background.
        no_teacher: Students that learn from labels alone.
        direct: Students that are distilled directly.
        assistants: Students behind assistants.
        stopped: Students that were stopped early.
    """

    ink: str
    soft: str
    line: str
    grid: str
    band: str
    paper: str
    no_teacher: str
    direct: str
    assistants: str
    stopped: str

    def of(self, teaching: str) -> str:
        """The colour of a kind of teaching."""
        return str(asdict(self)[teaching.replace(" ", "_")])


LIGHT = Theme(
    ink="#1b2430",
    soft="#566375",
    line="#c3ccd8",
    grid="#e8ecf2",
    band="#dfe5ee",
    paper="#ffffff",
    no_teacher="#5f6b7a",
    direct="#1f5fbf",
    assistants="#b4530a",
    stopped="#8a94a3",
)
DARK = Theme(
    ink="#e7ecf3",
    soft="#a3afbf",
    line="#46525f",
    grid="#2a343f",
    band="#33404d",
    paper="#171e26",
    no_teacher="#b9c3cf",
    direct="#6ea8ff",
    assistants="#f2a24a",
    stopped="#7f8b99",
)


def style(figure: go.Figure, theme: Theme, x: str, y: str, *, height: int = 400) -> go.Figure:
    """Give a figure the look of all figures.

    Args:
        figure: Figure to change.
        theme: Its colours.
        x: Title of the x axis.
        y: Title of the y axis.
        height: Height in pixels.

    Returns:
        The same figure.
    """
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.line,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": theme.line,
        "automargin": True,
    }
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": theme.ink},
        paper_bgcolor=theme.paper,
        plot_bgcolor=theme.paper,
        height=height,
        margin={"l": 52, "r": 16, "t": 40, "b": 52},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={
            "bgcolor": theme.paper,
            "bordercolor": theme.line,
            "font": {"color": theme.ink},
        },
        hovermode="closest",
        dragmode=False,  # a finger on a phone scrolls the page
    )
    figure.update_xaxes(title={"text": x, "standoff": 10}, **axis)
    figure.update_yaxes(title={"text": y, "standoff": 10}, **axis)
    return figure


def size_axis(values: Sequence[float]) -> dict[str, object]:
    """Layout of an axis for sizes or latencies, logarithmic if they span enough.

    Args:
        values: All values on the axis, above 0.
    """
    if not values:
        return {"type": "linear", "range": [0, 1]}
    low, high = min(values), max(values)
    if high <= LOG_FROM * low:
        pad = 0.06 * (high - low) or 0.1 * high
        return {
            "type": "linear",
            "range": [max(0.0, low - pad), high + 2 * pad],
            "dtick": None,
            "tickformat": "~s" if high >= 1000 else None,
        }
    wide = high > ONE_TICK_FROM * low
    pad = 0.06 * (log10(high) - log10(low))
    return {
        "type": "log",
        "range": [log10(low) - pad, log10(high) + 2 * pad],  # a label stands right of the last
        "dtick": 1 if wide else "D2",
        "tickformat": "~s",
    }


def plain_axis(values: Sequence[float]) -> dict[str, object]:
    """Layout of a linear axis for values of a metric that is no share.

    Args:
        values: What the axis must show.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    edge = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return {"type": "linear", "range": [low - edge, high + edge], "tickformat": ".4~g"}


def percent_axis(values: Sequence[float], *, most: float = 1.0) -> dict[str, object]:
    """Layout of an axis for accuracies of 0 to 1, in percent.

    Args:
        values: All values on the axis.
        most: Where the axis ends at the latest.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.08 * (high - low) or 0.02
    return {
        "type": "linear",
        "range": [low - pad, min(most + pad / 4, high + pad)],
        "dtick": None,
        "tickformat": ".1%" if high - low < 0.1 else ".0%",
        "tickvals": None,
        "ticktext": None,
    }


def error_axis(errors: Sequence[float]) -> dict[str, object]:
    """Layout of a logarithmic axis for shares of wrong samples, in percent.

    Args:
        errors: All values on the axis, above 0.
    """
    low, high = min(errors, default=0.01), max(errors, default=1.0)
    pad = 0.06 * (log10(high) - log10(low)) or 0.1
    ends = log10(low) - pad, log10(high) + pad
    ticks = _error_ticks(10 ** ends[0], 10 ** ends[1])
    return {
        "type": "log",
        "range": [*ends],
        "tickvals": ticks,
        "ticktext": [f"{100 * tick:.4g}%" for tick in ticks],
        "tickformat": None,
        "dtick": None,
    }


def _error_ticks(low: float, high: float) -> list[float]:
    """Round values between two errors: 1, 2 and 5 times a power of 10, or a round step apart."""
    found = [tick for tick in ROUND if low <= tick <= high]
    if len(found) >= FEW_TICKS:
        return found
    for step in reversed(ROUND):  # the largest that gives enough
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if last - first + 1 >= FEW_TICKS:
            return [step * number for number in range(first, last + 1)]
    return found
