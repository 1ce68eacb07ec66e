"""The regrets of `benchmarks.search` as a picture of each table.

`python -m benchmarks.search_figure` reads results/search.json and writes results/search-*.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks import common
from tasearch.report.figures import GRID, INK

SIZE = {"width": 1120, "height": 440}
AXES = {"cost": "training FLOPs beyond the teacher", "seconds": "simulated seconds, one worker"}
SHOWN = {  # arm: name, colour
    "a": ("plain Optuna", "#dc2626"),
    "b": ("plain Optuna, hops shared", "#f59e0b"),
    "d": ("MO-ASHA, hops shared", "#818cf8"),
    "c": ("random, hops shared", "#94a3b8"),
    "e1": ("TPE, shared and pruned", "#0ea5e9"),
    "f": ("tasearch", "#0f766e"),
}
FLOOR = 1e-4  # of regrets on the logarithmic axis


def figure(found: Mapping[str, Any]) -> go.Figure:
    """Medians over seeds, with the quartiles as bands; against cost, and against seconds."""
    drawn = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.03)
    for column, kind in enumerate(AXES, start=1):
        grid, place = found["grid"][kind], {"row": 1, "col": column}
        for arm, (name, colour) in SHOWN.items():
            curve = found["arms"][arm]["regret_curve"].get(kind)
            if curve is None:  # seconds are simulated with hops shared
                continue
            bounds = ([max(v, FLOOR) for v in curve[q]] for q in ("low", "median", "high"))
            low, middle, high = bounds
            drawn.add_scatter(
                x=[*grid, *grid[::-1]],
                y=[*high, *low[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.13,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                **place,
            )
            drawn.add_scatter(
                x=grid,
                y=middle,
                name=name,
                mode="lines",
                line={"color": colour, "width": 2.4},
                showlegend=kind == "cost",
                **place,
            )
    cost = found["oracle_cost_to_regret"]["median"]
    drawn.add_scatter(
        x=[cost],
        y=[0.01],
        name="oracle, to 1 %",
        mode="markers",
        marker={"symbol": "star", "size": 13, "color": INK},
        row=1,
        col=1,
    )
    axis = {"type": "log", "gridcolor": GRID, "ticks": "outside", "exponentformat": "power"}
    for column, title in enumerate(AXES.values(), start=1):
        drawn.update_xaxes(title=title, dtick=1, **axis, col=column)
    drawn.update_yaxes(tickformat=".2~%", range=[-3.3, 0], dtick=1, **axis)
    drawn.update_yaxes(title="hypervolume that is missing", col=1)
    drawn.update_layout(
        template="none",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 78, "r": 16, "t": 16, "b": 56},
        legend={"x": 0.525, "y": 0.02, "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
    )
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--result", type=Path, default=common.RESULTS / "search.json")
    args = parser.parse_args()
    result = json.loads(args.result.read_text("utf-8"))
    for name, found in result["tables"].items():
        file = args.result.with_name(f"{args.result.stem}-{name}.svg")
        file.write_text(common.svg(figure(found), **SIZE) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
