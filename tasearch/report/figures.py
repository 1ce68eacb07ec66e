"""The page's figures, each a thin layer of plotly over plain values."""

from __future__ import annotations

import plotly.graph_objects as go

from tasearch.report.chains_figure import chains_figure
from tasearch.report.info import Curve, Info, Step
from tasearch.report.points import Point
from tasearch.report.style import COLOURS, INK, set_accuracy_axis, set_size_axis, style

SYMBOLS = {
    "front": "circle",
    "dominated": "circle",
    "pruned": "x-thin-open",
    "assistant": "diamond-open",
    "over budget": "square-open",
    "teacher": "star",
}
SIZES = {
    "front": 13,
    "dominated": 8,
    "pruned": 9,
    "assistant": 8,
    "over budget": 10,
    "teacher": 14,
}
NAMES = {
    "front": "front",
    "dominated": "dominated",
    "pruned": "pruned (last rung)",
    "assistant": "assistants",
    "over budget": "over budget",
    "teacher": "teacher",
}
DRAWN = ("teacher", "over budget", "assistant", "pruned", "dominated", "front")  # the last on top


def figures(info: Info) -> dict[str, go.Figure]:
    """All figures of the page.

    Args:
        info: Contents of the report.

    Returns:
        Figures by the id of their element in the page.
    """
    return {
        "front-params": front_figure(info.points, "params"),
        "front-latency": front_figure(info.points, "latency_ms"),
        "chains": chains_figure(info.chains),
        "curves": curves_figure(info.curves),
        "progress": progress_figure(info.progress),
    }


def front_figure(points: tuple[Point, ...], axis: str) -> go.Figure:
    """Draw accuracy against size or latency.

    Args:
        points: Marks of the plot.
        axis: Attribute of a point, "params" or "latency_ms".

    Returns:
        The figure; its last trace is empty, and the page moves it to the student that it picks.
    """
    figure = go.Figure()
    for kind in DRAWN:
        chosen = [p for p in points if p.kind == kind]
        if chosen:
            _add_points(figure, kind, chosen, axis)
    _add_staircase(figure, points, axis)
    figure.add_scatter(
        x=[],
        y=[],
        name="picked",
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 24, "color": INK, "line": {"width": 2.5}},
    )
    style(figure, "parameters" if axis == "params" else "latency, ms", "accuracy")
    set_size_axis(figure, [getattr(p, axis) for p in points])
    set_accuracy_axis(figure, [p.accuracy for p in points])
    return figure


def curves_figure(curves: tuple[Curve, ...]) -> go.Figure:
    """Draw validation accuracy over epochs, one line per student.

    Args:
        curves: Learning curves; a pruned student's ends early, one of a single epoch is a marker.

    Returns:
        The figure.
    """
    figure = go.Figure()
    shown = set()
    order = {"dominated": 0, "pruned": 1, "front": 2}
    for curve in sorted(curves, key=lambda c: order[c.kind]):
        figure.add_scatter(
            x=curve.epochs,
            y=curve.accuracy,
            name=curve.kind,
            legendgroup=curve.kind,
            showlegend=curve.kind not in shown,
            mode="lines+markers" if curve.kind == "pruned" or len(curve.epochs) == 1 else "lines",
            opacity=0.45 if curve.kind == "dominated" else 0.95,
            line={"color": COLOURS[curve.kind], "width": 2 if curve.kind == "front" else 1.3},
            marker={
                "symbol": "x" if curve.kind == "pruned" else "circle",
                "size": [0] * (len(curve.epochs) - 1) + [8],  # only the end is marked
            },
            hovertemplate=f"<b>{curve.label}</b> (trial {curve.trial})<br>"
            "epoch %{x}: %{y:.2%}<extra></extra>",
        )
        shown.add(curve.kind)
    style(figure, "epoch", "accuracy")
    set_accuracy_axis(figure, [a for curve in curves for a in curve.accuracy])
    return figure


def progress_figure(progress: tuple[Step, ...]) -> go.Figure:
    """Draw the front's hypervolume against the training cost so far.

    Args:
        progress: The front after each trial.

    Returns:
        The figure.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[step.flops for step in progress],
        y=[step.hypervolume for step in progress],
        mode="lines+markers",
        marker={"size": 4},
        line={"shape": "hv", "color": COLOURS["front"], "width": 2},
        customdata=[step.trial for step in progress],
        hovertemplate="after trial %{customdata}: %{y:.4f}<br>%{x:.3s}FLOPs<extra></extra>",
        showlegend=False,
    )
    style(figure, "training FLOPs", "hypervolume", percent=False)
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _add_points(figure: go.Figure, kind: str, points: list[Point], axis: str) -> None:
    figure.add_scatter(
        x=[getattr(p, axis) for p in points],
        y=[p.accuracy for p in points],
        name=NAMES[kind],
        mode="markers",
        marker={
            "symbol": SYMBOLS[kind],
            "size": SIZES[kind],
            "color": COLOURS[kind],
            "line": {"width": 1.5, "color": "white" if kind == "front" else COLOURS[kind]},
        },
        customdata=[[p.label, p.detail, p.params, p.latency_ms, _trial(p)] for p in points],
        hovertemplate=(
            "<b>%{customdata[0]}</b>%{customdata[4]}<br>accuracy %{y:.2%}<br>"
            "%{customdata[2]:,} params, %{customdata[3]:.4g} ms<br>%{customdata[1]}"
            "<extra></extra>"
        ),
    )


def _add_staircase(figure: go.Figure, points: tuple[Point, ...], axis: str) -> None:
    """Add the best accuracy of the front at or below each size or latency."""
    best, steps = 0.0, []
    for cheap, accuracy in sorted(
        (getattr(p, axis), p.accuracy) for p in points if p.kind == "front"
    ):
        if accuracy > best:
            best = accuracy
            steps.append((cheap, accuracy))
    figure.add_scatter(
        x=[s[0] for s in steps],
        y=[s[1] for s in steps],
        mode="lines",
        line={"shape": "hv", "color": COLOURS["front"], "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )


def _trial(point: Point) -> str:
    return "" if point.trial is None else f" (trial {point.trial})"
