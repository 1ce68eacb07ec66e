"""The figure "Does an assistant help?": what every chain gains over direct distillation."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from tasearch.pareto.metric import ACCURACY
from tasearch.report.gains import Gain
from tasearch.report.style import LIGHT, SYMBOLS, Theme, style

ROW_HEIGHT, AROUND = 54, 130  # pixels
SPREAD = 0.5  # height over which the marks of a row are spread, in rows


def assistants_figure(gains: Sequence[Gain], theme: Theme = LIGHT) -> go.Figure:
    """Draw a row for each student width: gains in points, the band of noise, the verdict.

    Args:
        gains: The gains, the widest student first.
        theme: The colours.

    Returns:
        The figure; the customdata of a chain's mark is the number of its trial.
    """
    figure = go.Figure()
    shown = list(reversed(gains))  # the y axis goes up
    for place, gain in enumerate(shown):
        _add_band(figure, place, gain, theme)
    figure.add_vline(x=0, line={"color": theme.soft, "width": 1.2})
    _add_chains(figure, shown, theme)
    _add_verdicts(figure, shown, theme)
    _add_band_legend(figure, shown, theme)
    metric = gains[0].metric if gains else ACCURACY
    title = metric.titled("gain over direct distillation")
    style(figure, theme, title, "", height=AROUND + ROW_HEIGHT * max(1, len(shown)))
    least = 1.0 if metric.share else 0.01
    most = max([least, *map(abs, _ends(shown))])
    figure.update_xaxes(range=[-1.08 * most, 1.08 * most], ticksuffix="", tickformat="+.2~g")
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[f"<b>{gain.width}</b>" for gain in shown],
        range=[-0.6, len(shown) - 0.4],
        showgrid=False,
        ticks="",
        title={"text": "student's width", "standoff": 8},
    )
    figure.update_layout(margin={"l": 56, "r": 112, "t": 44, "b": 56})
    return figure


def _ends(gains: Sequence[Gain]) -> list[float]:
    """Everything that the x axis must have room for, as it is shown."""
    ends = [g.metric.scale * (row.over_direct or 0.0) for g in gains for row in g.rows]
    ends += [g.metric.scale * g.noise for g in gains if g.noise is not None]
    for gain in gains:
        verdict = gain.comparison.verdict if gain.comparison else None
        if verdict and verdict.low is not None and verdict.high is not None:
            ends += [gain.metric.scale * end for end in (verdict.low, verdict.high)]
    return ends


def _gain_form(gains: Sequence[Gain]) -> str:
    """How plotly writes a gain that is at x."""
    metric = gains[0].metric if gains else ACCURACY
    return f"%{{x:{'+.1f' if metric.share else '+.3g'}}} {metric.units}".rstrip()


def _add_band(figure: go.Figure, place: int, gain: Gain, theme: Theme) -> None:
    if gain.noise is not None:
        figure.add_shape(
            type="rect",
            x0=-gain.metric.scale * gain.noise,
            x1=gain.metric.scale * gain.noise,
            y0=place - 0.4,
            y1=place + 0.4,
            line={"width": 1, "dash": "dot", "color": theme.line},
            fillcolor=theme.band if gain.measured else theme.paper,
            layer="below",
        )
    figure.add_annotation(
        x=1.01,
        xref="paper",
        xanchor="left",
        y=place,
        text=f"<b>{gain.answer}</b>" if gain.comparison else gain.answer,
        showarrow=False,
        font={"size": 12, "color": theme.ink if gain.comparison else theme.soft},
    )


def _add_chains(figure: go.Figure, gains: Sequence[Gain], theme: Theme) -> None:
    marks = []
    for place, gain in enumerate(gains):
        count = len(gain.rows)
        for i, row in enumerate(gain.rows):
            up = SPREAD * ((i + 0.5) / count - 0.5) if count > 1 else 0.0
            marks.append((gain.metric.scale * (row.over_direct or 0.0), place + up, row))
    figure.add_scatter(
        x=[x for x, _, _ in marks],
        y=[y for _, y, _ in marks],
        name="a chain with assistants, in the search",
        mode="markers",
        marker={
            "symbol": f"{SYMBOLS['assistants']}-open",
            "size": 10,
            "color": theme.assistants,
            "line": {"width": 1.6},
        },
        customdata=[row.trial for _, _, row in marks],
        text=[f"<b>{row.label}</b> (trial {row.trial})" for _, _, row in marks],
        hovertemplate=f"%{{text}}<br>{_gain_form(gains)}<extra></extra>",
    )


def _add_verdicts(figure: go.Figure, gains: Sequence[Gain], theme: Theme) -> None:
    found = []
    for place, gain in enumerate(gains):
        verdict = gain.comparison.verdict if gain.comparison else None
        if verdict and None not in (verdict.difference, verdict.low, verdict.high):
            found.append((place, gain, verdict))
    if not found:
        return
    scale = gains[0].metric.scale
    middle = [scale * (v.difference or 0.0) for _, _, v in found]
    ends = [sorted((scale * (v.low or 0), scale * (v.high or 0))) for _, _, v in found]
    figure.add_scatter(
        x=middle,
        y=[place for place, _, _ in found],
        name="fresh seeds, 95 % interval",
        mode="markers",
        marker={"symbol": SYMBOLS["assistants"], "size": 12, "color": theme.ink},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - m for m, (_, high) in zip(middle, ends, strict=True)],
            "arrayminus": [m - low for m, (low, _) in zip(middle, ends, strict=True)],
            "color": theme.ink,
            "thickness": 2.2,
            "width": 6,
        },
        text=[g.comparison.first.label for _, g, _ in found if g.comparison],
        customdata=[v.pairs for _, _, v in found],
        hovertemplate=f"<b>%{{text}}</b><br>{_gain_form(gains)}, %{{customdata}} fresh seeds"
        "<extra></extra>",
    )


def _add_band_legend(figure: go.Figure, gains: Sequence[Gain], theme: Theme) -> None:
    for measured, name in ((True, "noise of a pair, measured"), (False, "noise, by samples alone")):
        if any(gain.noise is not None and gain.measured == measured for gain in gains):
            figure.add_scatter(
                x=[None],
                y=[None],
                name=name,
                mode="markers",
                marker={
                    "symbol": "square",
                    "size": 13,
                    "color": theme.band if measured else theme.paper,
                    "line": {"width": 1, "color": theme.line},
                },
            )
