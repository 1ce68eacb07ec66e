"""The smaller figures of a report: learning curves, cost, progress, importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from tasearch.pareto.metric import ACCURACY
from tasearch.report.rows import Row
from tasearch.report.search_cost import Spent, Step
from tasearch.report.style import LIGHT, Theme, percent_axis, plain_axis, style

CURVES = ("stopped early", "finished", "front")  # kinds, the last one is drawn on top


def curves_figure(rows: Sequence[Row], theme: Theme = LIGHT) -> go.Figure:
    """Draw validation accuracy over epochs, a trace for each kind of student.

    Args:
        rows: The run's rows; a pruned student's curve ends early.
        theme: The colours.
    """
    figure = go.Figure()
    colours = dict(zip(CURVES, (theme.stopped, theme.direct, theme.assistants), strict=True))
    for kind in CURVES:
        own = [row for row in rows if row.curve and _kind(row) == kind]
        if own:
            _add_curves(figure, own, kind, colours[kind])
    metric = rows[0].metric if rows else ACCURACY
    style(figure, theme, "epoch", f"{metric.words} on the validation part")
    shown = [score if metric.share else metric.sign * score for row in rows for score in row.curve]
    figure.update_yaxes(**(percent_axis(shown) if metric.share else plain_axis(shown)))
    return figure


def _kind(row: Row) -> str:
    if row.state == "pruned":
        return "stopped early"
    return "front" if row.front else "finished"


def _add_curves(figure: go.Figure, rows: Sequence[Row], kind: str, colour: str) -> None:
    """Add the curves of several students as one trace, with gaps between them."""
    metric, epochs = rows[0].metric, list[int | None]()
    accuracies: list[float | None] = []
    trials: list[int] = []
    for row in rows:
        epochs += [*row.epochs, None]
        sign = 1 if metric.share else metric.sign
        accuracies += [*(sign * score for score in row.curve), None]
        trials += [row.trial] * (len(row.curve) + 1)
    form = ".1%" if metric.share else ".4g"
    figure.add_scatter(
        x=epochs,
        y=accuracies,
        name=kind,
        mode="lines+markers",
        opacity=1.0 if kind == "front" else 0.55,
        line={"color": colour, "width": 2.2 if kind == "front" else 1.2},
        marker={"size": 4 if kind == "front" else 3},
        customdata=trials,
        hovertemplate=f"trial %{{customdata}}<br>epoch %{{x}}: %{{y:{form}}}<extra></extra>",
    )


def cost_figure(spent: Spent, theme: Theme = LIGHT) -> go.Figure:
    """Draw what training has cost as one bar: teacher, assistants, students, stopped ones.

    Args:
        spent: Training FLOPs by kind of model.
        theme: The colours.
    """
    figure = go.Figure()
    parts = (
        ("teacher", spent.teacher, theme.soft),
        ("assistants", spent.assistants, theme.assistants),
        ("students", spent.students, theme.direct),
        ("students that were stopped", spent.stopped, theme.stopped),
    )
    whole = sum(flops for _, flops, _ in parts) or 1.0
    for name, flops, colour in parts:
        figure.add_bar(
            x=[flops],
            y=["cost"],
            orientation="h",
            name=f"{name} {flops / whole:.0%}",
            marker={"color": colour, "line": {"color": theme.paper, "width": 1}},
            hovertemplate="%{x:.3s}FLOPs<extra></extra>",
        )
    style(figure, theme, "training FLOPs", "", height=190)
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    figure.update_xaxes(exponentformat="SI", showgrid=False)
    figure.update_yaxes(showticklabels=False, ticks="", showline=False)
    return figure


def progress_figure(progress: Sequence[Step], theme: Theme = LIGHT) -> go.Figure:
    """Draw the front's hypervolume against the training cost so far.

    Args:
        progress: The front after each trial.
        theme: The colours.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[step.flops for step in progress],
        y=[step.hypervolume for step in progress],
        mode="lines+markers",
        marker={"size": 4},
        line={"shape": "hv", "color": theme.direct, "width": 2},
        customdata=[step.trial for step in progress],
        hovertemplate="after trial %{customdata}: %{y:.4f}<br>%{x:.3s}FLOPs<extra></extra>",
        showlegend=False,
    )
    style(figure, theme, "training FLOPs so far", "hypervolume of the front", height=340)
    figure.update_xaxes(rangemode="tozero", exponentformat="SI")
    figure.update_yaxes(rangemode="tozero")
    return figure


def importance_figure(importance: Mapping[str, float], theme: Theme = LIGHT) -> go.Figure:
    """Draw how much each parameter of the search sets the best students apart.

    Args:
        importance: Shares by parameter, 0 to 1.
        theme: The colours.
    """
    figure = go.Figure()
    names = sorted(importance, key=lambda name: importance[name])
    figure.add_bar(
        x=[importance[name] for name in names],
        y=names,
        orientation="h",
        marker={"color": theme.direct},
        text=[f"{importance[name]:.0%}" for name in names],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    style(figure, theme, "share", "", height=90 + 38 * len(names))
    figure.update_xaxes(range=[0, 1.1], tickformat=".0%", dtick=0.25)
    figure.update_yaxes(ticks="", showgrid=False)
    return figure
