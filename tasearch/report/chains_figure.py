"""The figure of the front's chains: one row per chain, one disc per model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go

from tasearch.report.info import Link
from tasearch.report.style import COLOURS, INK, LINE, style
from tasearch.report.text import percent

SHADES = {"teacher": INK, "assistant": COLOURS["assistant"], "student": COLOURS["front"]}
ROW_HEIGHT = 74  # pixels
SMALLEST, GROWTH = 12, 24  # of a disc: pixels, and how many more the largest model has


def chains_figure(chains: Mapping[int, tuple[Link, ...]]) -> go.Figure:
    """Draw the chains of the front; a disc grows with its model's parameters.

    Args:
        chains: Models of each chain by number of trial, teacher first.

    Returns:
        The figure, the smallest student in the lowest row.
    """
    figure = go.Figure()
    ranked = sorted(chains.items(), key=lambda item: item[1][-1].params)
    largest = max((math.log1p(link.params) for _, links in ranked for link in links), default=1.0)
    assistants = [sum(link.role == "assistant" for link in links) for _, links in ranked]
    columns = 2 + max(assistants, default=0)
    for row, (trial, links) in enumerate(ranked):
        first = 0 if links[0].role == "teacher" else 1
        places = [*range(first, first + len(links) - 1), columns - 1]
        _add_chain(figure, trial, links, places, row, largest)
    style(figure, "", "", height=max(230, 70 + ROW_HEIGHT * len(ranked)))
    _label_axes(figure, columns, [percent(links[-1].accuracy) for _, links in ranked])
    return figure


def _add_chain(
    figure: go.Figure,
    trial: int,
    links: tuple[Link, ...],
    places: list[int],
    row: int,
    largest: float,
) -> None:
    figure.add_scatter(
        x=places,
        y=[row] * len(links),
        mode="lines+markers+text",
        line={"color": LINE, "width": 2},
        marker={
            "size": [
                SMALLEST + GROWTH * (math.log1p(link.params) / largest) ** 3 for link in links
            ],
            "color": [SHADES[link.role] for link in links],
            "opacity": 1,
            "line": {"width": 2, "color": "white"},
        },
        text=[f"<b>{link.width}</b>" for link in links],
        textfont={"color": INK, "size": 12},
        textposition="top center",
        cliponaxis=False,
        customdata=[[percent(link.accuracy), link.params] for link in links],
        hovertemplate=f"trial {trial}<br>width %{{text}}: %{{customdata[1]:,}} params, "
        "accuracy %{customdata[0]}<extra></extra>",
        showlegend=False,
    )


def _label_axes(figure: go.Figure, columns: int, accuracies: list[str]) -> None:
    labels: dict[float, str] = {0: "teacher", columns - 1: "student"}
    if columns > 2:  # one label for all assistants, because a phone has no room for more
        labels[(columns - 1) / 2] = "assistant" + "s" * (columns > 3)
    figure.update_layout(margin={"b": 8, "t": 36})
    figure.update_xaxes(
        tickvals=list(labels),
        ticktext=list(labels.values()),
        side="top",
        tickangle=0,
        showline=False,
        ticks="",
        showgrid=False,
        range=[-0.4, columns - 0.6],
    )
    figure.update_yaxes(
        tickvals=list(range(len(accuracies))),
        ticktext=accuracies,
        tickformat=None,
        range=[-0.6, len(accuracies) - 0.2],
        showgrid=False,
        showline=False,
        ticks="",
    )
