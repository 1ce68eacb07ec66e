"""The figures of a run by their names, for the page and for files of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from tasearch.errors import NothingFits
from tasearch.report.assistants_figure import assistants_figure
from tasearch.report.figures import cost_figure, curves_figure, importance_figure, progress_figure
from tasearch.report.front_figure import front_figure
from tasearch.report.front_view import X, Y
from tasearch.report.info import Info, report_info
from tasearch.report.style import LIGHT, Theme
from tasearch.runs.importance import LEAST
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a figure is drawn.

    Args:
        x: The x axis of the front.
        y: The y axis of the front.
        theme: The colours.
    """

    x: X = "params"
    y: Y = "error"
    theme: Theme = LIGHT


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure that a run may have.

    Args:
        draw: Draws it.
        shows: Whether a run has something to show in it.
        needs: What a run must have, in words.
    """

    draw: Callable[[Info, Look], go.Figure]
    shows: Callable[[Info], object]
    needs: str


PLOTS: Mapping[str, Plot] = {
    "front": Plot(
        draw=lambda info, look: front_figure(info.view, look.x, look.y, look.theme),
        shows=lambda info: info.view.finished,
        needs="a student that is trained to its end and within the budget",
    ),
    "assistants": Plot(
        draw=lambda info, look: assistants_figure(info.gains, look.theme),
        shows=lambda info: info.gains,
        needs="a student that is trained to its end and within the budget",
    ),
    "curves": Plot(
        draw=lambda info, look: curves_figure(info.rows, look.theme),
        shows=lambda info: any(row.curve for row in info.rows),
        needs="a student that has reached its first rung",
    ),
    "cost": Plot(
        draw=lambda info, look: cost_figure(info.spent, look.theme),
        shows=lambda info: info.costs.paid,
        needs="a trial that has ended",
    ),
    "progress": Plot(
        draw=lambda info, look: progress_figure(info.progress, look.theme),
        shows=lambda info: info.progress,
        needs="a trial that has ended",
    ),
    "importance": Plot(
        draw=lambda info, look: importance_figure(info.importance, look.theme),
        shows=lambda info: info.importance,
        needs=f"{LEAST} finished trials or more, which differ in their parameters and accuracies",
    ),
}


def drawn(run: Run, name: str, look: Look) -> go.Figure:
    """Draw a figure of a run.

    Args:
        run: A run, finished or not.
        name: A name in `PLOTS`.
        look: How it is drawn.

    Raises:
        NothingFits: The run has nothing to show in it yet.
        RunError: A file of the run is damaged.
    """
    info, plot = report_info(run), PLOTS[name]
    if not plot.shows(info):
        raise NothingFits(f"{run.path}: has nothing to show as {name!r} yet; it needs {plot.needs}")
    return plot.draw(info, look)
