"""The figure of several runs: the fronts of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from tasearch.pareto.metric import ACCURACY
from tasearch.report.front_figure import HEIGHT, add_marks, error_bars
from tasearch.report.front_view import FrontView, front_axes
from tasearch.report.run_comparison import ComparedRun
from tasearch.report.style import LIGHT, Theme, style

COLOURS = ("#1f5fbf", "#b4530a", "#2a7d4f", "#7a3fa0", "#a3214b", "#5f6b7a")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")


def runs_figure(runs: Sequence[ComparedRun], theme: Theme = LIGHT) -> go.Figure:
    """Draw the error of the members of all fronts against their size.

    Args:
        runs: The runs, with the same validation set.
        theme: The colours of text, axes and background.

    Returns:
        The figure, with one trace for each run that has a member; a mark has the 95 % interval of
        its accuracy.
    """
    figure = go.Figure()
    members = tuple(row for run in runs for row in run.front)
    view = FrontView(
        rows=members,
        samples=runs[0].samples,
        teacher="",
        teacher_accuracy=None,
        metric=members[0].metric if members else ACCURACY,
    )
    for place, run in enumerate(runs):
        if not run.front:
            continue
        colour = COLOURS[place % len(COLOURS)]
        mark = {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 10, "color": colour}
        add_marks(figure, view, run.front, ("params", "error"), run.name, mark)
        bars = error_bars(view, run.front, "error")
        figure.data[-1].update(
            mode="lines+markers",
            line={"color": colour, "width": 1, "dash": "dot"},
            error_y={**bars, "color": colour, "thickness": 1.2, "width": 4},
        )
    style(figure, theme, view.title("params"), view.title("error"), height=HEIGHT)
    axes = front_axes(view)
    figure.update_xaxes(**axes["params"])
    figure.update_yaxes(**axes["error"])
    return figure
