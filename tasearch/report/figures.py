"""Figures: each a thin layer of plotly over a plain value."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from tasearch.report.info import Curve, Info, Link, Point, Step

COLOURS = {
    "front": "#0f766e",
    "dominated": "#94a3b8",
    "pruned": "#f59e0b",
    "assistant": "#818cf8",
    "over budget": "#dc2626",
    "teacher": "#1e293b",
}
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
    "assistant": "assistants on the way",
    "over budget": "over budget",
    "teacher": "teacher",
}
INK, GRID = "#1e293b", "#e2e8f0"


def front_figure(points: tuple[Point, ...], cost: str) -> go.Figure:
    """Accuracy against a cost.

    Args:
        points: of the report.
        cost: "params" or "latency_ms".
    """
    figure = go.Figure()
    for kind in ("teacher", "over budget", "assistant", "pruned", "dominated", "front"):
        chosen = [p for p in points if p.kind == kind]
        if not chosen:
            continue
        figure.add_scatter(
            x=[getattr(p, cost) for p in chosen],
            y=[p.accuracy for p in chosen],
            name=NAMES[kind],
            mode="markers",
            marker={
                "symbol": SYMBOLS[kind],
                "size": SIZES[kind],
                "color": COLOURS[kind],
                "line": {"width": 1.5, "color": "white" if kind == "front" else COLOURS[kind]},
            },
            customdata=[[p.label, p.detail, p.params, p.latency_ms, _trial(p)] for p in chosen],
            hovertemplate=(
                "<b>%{customdata[0]}</b>%{customdata[4]}<br>accuracy %{y:.2%}<br>"
                "%{customdata[2]:,} params, %{customdata[3]:.4g} ms<br>%{customdata[1]}"
                "<extra></extra>"
            ),
        )
    _staircase(figure, points, cost)
    figure.add_scatter(
        x=[],
        y=[],
        name="picked",
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 24, "color": INK, "line": {"width": 2.5}},
    )
    title = "parameters" if cost == "params" else "latency, ms"
    _styled(figure, title, "accuracy", log_x=_spread([getattr(p, cost) for p in points]))
    return _share_axis(figure, [p.accuracy for p in points])


def curves_figure(curves: tuple[Curve, ...]) -> go.Figure:
    """Validation accuracy over epochs, one line a student; pruned ones end early. A curve of one
    point is a marker."""
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
            marker={"symbol": "x" if curve.kind == "pruned" else "circle", "size": _ends(curve)},
            hovertemplate=f"<b>{curve.label}</b> (trial {curve.trial})<br>"
            "epoch %{x}: %{y:.2%}<extra></extra>",
        )
        shown.add(curve.kind)
    _styled(figure, "epoch", "accuracy")
    return _share_axis(figure, [a for curve in curves for a in curve.accuracy])


def progress_figure(progress: tuple[Step, ...]) -> go.Figure:
    """Hypervolume of the front against what the study had paid."""
    figure = go.Figure()
    figure.add_scatter(
        x=[step.cost for step in progress],
        y=[step.hypervolume for step in progress],
        mode="lines+markers",
        marker={"size": 4},
        line={"shape": "hv", "color": COLOURS["front"], "width": 2},
        customdata=[step.trial for step in progress],
        hovertemplate="after trial %{customdata}: %{y:.4f}<br>%{x:.3s}FLOP<extra></extra>",
        showlegend=False,
    )
    _styled(figure, "training cost, FLOPs (hops shared)", "hypervolume", percent=False)
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    return figure


def chains_figure(chains: dict[int, tuple[Link, ...]]) -> go.Figure:
    """The chains of the front, one row each: a disc a model, its area grows with its size."""
    figure = go.Figure()
    ranked = sorted(chains.items(), key=lambda item: item[1][-1].params)
    largest = max((math.log1p(link.params) for _, links in ranked for link in links), default=1.0)
    assistants = [sum(link.role == "assistant" for link in links) for _, links in ranked]
    depth = 2 + max(assistants, default=0)
    shades = {"teacher": INK, "assistant": COLOURS["assistant"], "student": COLOURS["front"]}
    for row, (trial, links) in enumerate(ranked):
        first = 0 if links[0].role == "teacher" else 1
        places = [*range(first, first + len(links) - 1), depth - 1]
        figure.add_scatter(
            x=places,
            y=[row] * len(links),
            mode="lines+markers+text",
            line={"color": "#cbd5e1", "width": 2},
            marker={
                "size": [14 + 34 * (math.log1p(link.params) / largest) ** 3 for link in links],
                "color": [shades[link.role] for link in links],
                "opacity": 1,
                "line": {"width": 2, "color": "white"},
            },
            text=[f"<b>{link.width}</b>" for link in links],
            textfont={"color": INK, "size": 12},
            textposition="top center",
            customdata=[[_percent(link.accuracy), link.params] for link in links],
            hovertemplate=f"trial {trial}<br>width %{{text}}: %{{customdata[1]:,}} params, "
            "accuracy %{customdata[0]}<extra></extra>",
            showlegend=False,
        )
    _styled(figure, "", "")
    middle = [f"assistant {i}" for i in range(1, depth - 1)]
    figure.update_layout(height=max(230, 70 + 74 * len(ranked)), margin={"b": 8})
    figure.update_xaxes(
        tickvals=list(range(depth)),
        ticktext=["teacher", *middle, "student"],
        side="top",
        showgrid=False,
        range=[-0.4, depth - 0.6],
    )
    figure.update_yaxes(
        tickvals=list(range(len(ranked))),
        ticktext=[_percent(links[-1].accuracy) for _, links in ranked],
        tickformat=None,
        range=[-0.6, len(ranked) - 0.2],
        showgrid=False,
        title="accuracy of the student",
    )
    return figure


def figures(info: Info) -> dict[str, go.Figure]:
    """Every figure of the page by the name of its place."""
    return {
        "front-params": front_figure(info.points, "params"),
        "front-latency": front_figure(info.points, "latency_ms"),
        "chains": chains_figure(info.chains),
        "curves": curves_figure(info.curves),
        "progress": progress_figure(info.progress),
    }


def _staircase(figure: go.Figure, points: tuple[Point, ...], cost: str) -> None:
    """The best accuracy at or below each cost."""
    best, steps = 0.0, []
    for cheap, accuracy in sorted(
        (getattr(p, cost), p.accuracy) for p in points if p.kind == "front"
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


def _styled(
    figure: go.Figure, x: str, y: str, *, log_x: bool = False, percent: bool = True
) -> go.Figure:
    axis = {
        "gridcolor": GRID,
        "linecolor": "#cbd5e1",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#cbd5e1",
        "automargin": True,
    }
    figure.update_layout(
        template="none",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=400,
        margin={"l": 64, "r": 16, "t": 36, "b": 52},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
    )
    figure.update_xaxes(title=x, type="log" if log_x else "linear", **axis)
    if log_x:
        figure.update_xaxes(dtick="D2")
    figure.update_yaxes(title=y, tickformat=".0%" if percent else None, **axis)
    return figure


def _share_axis(figure: go.Figure, shares: list[float]) -> go.Figure:
    """A y axis that fits the shares and never leaves 0 .. 1."""
    low = min(shares, default=0.0)
    figure.update_yaxes(range=[max(-0.02, low - 0.05), 1.02])
    return figure


def _spread(values: list[float]) -> bool:
    """Whether values span enough for a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 20


def _ends(curve: Curve) -> list[int]:
    """Marker sizes: only the end of a curve has one."""
    return [0] * (len(curve.epochs) - 1) + [8]


def _percent(accuracy: float | None) -> str:
    return "unknown" if accuracy is None else f"{accuracy:.2%}"


def _trial(point: Point) -> str:
    return "" if point.trial is None else f" (trial {point.trial})"
