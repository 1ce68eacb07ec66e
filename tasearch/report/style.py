"""Colours and axes that all figures share."""

from __future__ import annotations

import plotly.graph_objects as go

INK, GRID, LINE = "#1e293b", "#e2e8f0", "#cbd5e1"
COLOURS = {
    "front": "#0f766e",
    "dominated": "#94a3b8",
    "pruned": "#f59e0b",
    "assistant": "#818cf8",
    "over budget": "#dc2626",
    "teacher": INK,
}
LOG_FROM = 20  # ratio of the largest value to the smallest from which an axis is logarithmic
ONE_TICK_FROM = 200  # ratio from which a logarithmic axis has ticks at powers of 10 only


def style(
    figure: go.Figure, x: str, y: str, *, percent: bool = True, height: int = 400
) -> go.Figure:
    """Give a figure the page's look.

    Args:
        figure: Figure to change.
        x: Title of the x axis.
        y: Title of the y axis.
        percent: Whether y is an accuracy of 0 to 1, shown in percent.
        height: Height in pixels.

    Returns:
        The same figure.
    """
    axis = {
        "gridcolor": GRID,
        "linecolor": LINE,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": LINE,
        "automargin": True,
    }
    figure.update_layout(
        template="none",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=height,
        margin={"l": 48, "r": 16, "t": 36, "b": 52},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
    )
    figure.update_xaxes(title={"text": x, "standoff": 12}, exponentformat="SI", **axis)
    figure.update_yaxes(
        title={"text": y, "standoff": 14}, tickformat=".0%" if percent else None, **axis
    )
    return figure


def set_size_axis(figure: go.Figure, values: list[float]) -> None:
    """Make the x axis logarithmic if the values span enough.

    Args:
        figure: Figure to change.
        values: All values on the x axis.
    """
    if values and min(values) > 0 and max(values) > LOG_FROM * min(values):
        wide = max(values) > ONE_TICK_FROM * min(values)
        figure.update_xaxes(type="log", dtick=1 if wide else "D2", tickformat="~s")


def set_accuracy_axis(figure: go.Figure, accuracies: list[float]) -> None:
    """Fit the y axis to accuracies; it never leaves 0 to 1 by more than a margin.

    Args:
        figure: Figure to change.
        accuracies: All values on the y axis, 0 to 1.
    """
    low = min(accuracies, default=0.0)
    figure.update_yaxes(range=[max(-0.02, low - 0.05), 1.02])
