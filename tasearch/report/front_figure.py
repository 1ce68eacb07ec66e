"""The figure of the front: error or accuracy against size or latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from tasearch.report.front_view import FrontView, X, Y, front_axes
from tasearch.report.rows import Row
from tasearch.report.style import (
    LIGHT,
    SYMBOLS,
    Theme,
    size_axis,
    style,
)
from tasearch.report.text import ends_text

HEIGHT = 520


def front_figure(
    view: FrontView, x: X = "params", y: Y = "error", theme: Theme = LIGHT
) -> go.Figure:
    """Draw the error or the accuracy of all finished students against their size or latency.

    Args:
        view: What is shown.
        x: "params", "bytes" or "latency_ms".
        y: "error", on a logarithmic axis, or "accuracy".
        theme: The colours.

    Returns:
        The figure. The customdata of a mark is the number of its trial; the last trace is empty,
        for the mark of a student that is picked.
    """
    figure = go.Figure()
    stopped = [row for row in view.rows if row.state == "pruned" and row.accuracy is not None]
    _add_teacher(figure, view, x, y, theme)
    if stopped:
        name = f"{len(stopped)} stopped early"
        add_marks(figure, view, stopped, (x, y), name, _open("x-thin", theme.stopped))
        figure.data[-1].visible = "legendonly"
    for teaching in SYMBOLS:
        members = [r for r in view.finished if r.teaching == teaching and r.front]
        if members:
            _add_members(figure, view, members, (x, y), teaching, theme)
    for teaching in SYMBOLS:
        others = [r for r in view.finished if r.teaching == teaching and not r.front]
        if others:
            mark = _open(SYMBOLS[teaching], theme.of(teaching))
            add_marks(figure, view, others, (x, y), teaching, mark)
            figure.data[-1].showlegend = all(t.name != teaching for t in figure.data[:-1])
    _add_confirmed(figure, view, x, y, theme)
    _add_targets(figure, view, x, y)
    figure.add_scatter(
        x=[],
        y=[],
        name="picked",
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 26, "color": theme.ink, "line": {"width": 2.5}},
    )
    style(figure, theme, view.title(x), view.title(y), height=HEIGHT)
    axes = front_axes(view)
    figure.update_xaxes(**axes[x])
    figure.update_yaxes(**axes[y])
    return figure


def _open(symbol: str, colour: str) -> dict[str, object]:
    """The mark of a student that is no member of the front."""
    return {
        "symbol": f"{symbol}-open",
        "size": 8,
        "color": colour,
        "opacity": 0.75,
        "line": {"width": 1.4},
    }


def add_marks(
    figure: go.Figure,
    view: FrontView,
    rows: Sequence[Row],
    axes: tuple[X, Y],
    name: str,
    marker: Mapping[str, object],
) -> None:
    """Add marks of students as one trace; the customdata of a mark is the number of its trial.

    Args:
        figure: Figure to add to.
        view: What the figure shows.
        rows: The students, with an accuracy each.
        axes: The axes.
        name: Name of the trace in the legend.
        marker: How the marks look.
    """
    x, y = axes
    figure.add_scatter(
        x=[getattr(row, x) for row in rows],
        y=[view.height(row.accuracy or 0.0, y) for row in rows],
        name=name,
        legendgroup=name,
        mode="markers",
        marker=dict(marker),
        customdata=[row.trial for row in rows],
        meta={"trials": [row.trial for row in rows]},
        text=[hover_text(row) for row in rows],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_members(
    figure: go.Figure,
    view: FrontView,
    rows: Sequence[Row],
    axes: tuple[X, Y],
    teaching: str,
    theme: Theme,
) -> None:
    """Add members of the front: filled, with the student's width and an interval."""
    colour = theme.of(teaching)
    mark = {
        "symbol": SYMBOLS[teaching],
        "size": 13,
        "color": colour,
        "line": {"width": 1.5, "color": theme.paper},
    }
    add_marks(figure, view, rows, axes, teaching, mark)
    figure.data[-1].update(
        mode="markers+text",
        zorder=1,
        error_y={**error_bars(view, rows, axes[1]), "color": colour, "thickness": 1.2, "width": 4},
        textposition="middle right",
        texttemplate=[f"  <b>{row.width}</b>" for row in rows],
        textfont={"color": theme.ink, "size": 13},
        cliponaxis=False,
    )


def error_bars(view: FrontView, rows: Sequence[Row], y: Y) -> dict[str, object]:
    """The intervals of accuracies, as distances from them.

    Args:
        view: What the figure shows.
        rows: The students, with an accuracy and an interval each.
        y: The axis.

    Returns:
        Values for a trace's `error_y`.
    """
    heights = [view.height(row.accuracy or 0.0, y) for row in rows]
    ends = [sorted(view.height(end, y) for end in row.interval or (0.0, 0.0)) for row in rows]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - at for at, (_, high) in zip(heights, ends, strict=True)],
        "arrayminus": [at - low for at, (low, _) in zip(heights, ends, strict=True)],
    }


def _add_confirmed(figure: go.Figure, view: FrontView, x: X, y: Y, theme: Theme) -> None:
    """Add the means on fresh seeds of the members of the front that were confirmed."""
    rows = [row for row in view.finished if row.front and row.confirmed is not None]
    if not rows:
        return
    figure.add_scatter(
        x=[getattr(row, x) for row in rows],
        y=[view.height(row.confirmed.accuracy, y) for row in rows if row.confirmed],
        name="mean on fresh seeds",
        mode="markers",
        marker={
            "symbol": "line-ew-open",
            "size": 17,
            "color": theme.ink,
            "line": {"width": 2.5},
        },
        meta={"trials": [row.trial for row in rows], "fresh": True},
        hoverinfo="skip",
    )


def _add_targets(figure: go.Figure, view: FrontView, x: X, y: Y) -> None:
    """Add small invisible marks at the members of the front.

    Where marks overlap, plotly gives the smallest one to the mouse, and members are large.
    """
    members = [row for row in view.finished if row.front]
    add_marks(figure, view, members, (x, y), "targets", {"size": 6, "color": "rgba(0, 0, 0, 0)"})
    figure.data[-1].showlegend = False


def _add_teacher(figure: go.Figure, view: FrontView, x: X, y: Y, theme: Theme) -> None:
    if view.teacher_accuracy is None or not view.finished:
        return
    places = size_axis([getattr(row, x) for row in view.finished])
    ends = places["range"]
    assert isinstance(ends, list)
    edge = 1e-4 * (ends[1] - ends[0])  # a point beyond the axis by rounding would have no text
    inner = (ends[0] + edge, ends[1] - edge)
    at = view.height(view.teacher_accuracy, y)
    figure.add_scatter(
        x=[10**end if places["type"] == "log" else end for end in inner],
        y=[at, at],
        name="teacher",
        meta=[view.teacher_accuracy] * 2,
        mode="lines+text",
        line={"color": theme.soft, "width": 1.3, "dash": "dash"},
        text=[f" {view.teacher}: {view.metric.text(view.teacher_accuracy)}", ""],
        textposition="top right" if y == "error" else "bottom right",
        textfont={"color": theme.soft, "size": 12},
        hoverinfo="skip",
        showlegend=False,
    )


def hover_text(row: Row) -> str:
    """What a mark says of its student, as HTML that plotly knows."""
    assert row.accuracy is not None
    lines = [f"<b>{row.label}</b> (trial {row.trial})", row.metric.named(row.accuracy)]
    if row.interval is not None and row.finished:
        lines[-1] += f" ({ends_text(row.interval, row.metric)})"
    if row.confirmed is not None:
        lines.append(
            f"{row.metric.text(row.confirmed.accuracy)} on {row.confirmed.seeds} fresh seeds"
        )
    lines.append(f"{row.params:,} params, {row.latency_ms:.4g} ms")
    if row.over_direct is not None:
        lines.append(f"{row.metric.difference_words(row.over_direct)} over direct, same recipe")
    if row.state == "pruned":
        lines.append(f"stopped after {row.epochs[-1]} epochs")
    if row.searched:
        lines.append(row.searched)
    return "<br>".join(lines)
