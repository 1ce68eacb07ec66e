"""The regret of each search method over its costs, as `benchmarks.search` stored it.

`python -m benchmarks.search_figure` reads results/search.json and draws results/search-*.svg, one
figure for each table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import common, figures

HEIGHT = 4.6  # inches
AXES = {
    "cost": "training FLOPs, without the teacher's",
    "seconds": "simulated seconds of one worker",
}
ARMS = {  # by their letters in the result: name, colour, style of the line
    "a": ("plain Optuna (TPE)", figures.VERMILION, "-"),
    "b": ("Optuna (TPE), shared hops", figures.ORANGE, "--"),
    "d": ("MO-ASHA, shared hops", figures.PURPLE, "-."),
    "k": ("TPE and OptunaHub's pruner, shared hops", figures.GREY, ":"),
    "e1": ("TPE, shared hops, pruned", figures.SKY, "--"),
    "j": ("qLogNEHVI for its cost, shared hops", figures.BLACK, ":"),
    "h1": ("cheapest chain first", figures.GREEN, "-."),
    "f": ("tasearch", figures.BLUE, "-"),
}
LEAST = 5e-4  # regret at which the logarithmic axis ends


def draw(found: Mapping[str, Any]) -> Figure:
    """Medians, quartiles as bands: against training FLOPs, and against seconds.

    Args:
        found: The result of one table in one view.
    """
    figure = Figure(figsize=(figures.WIDTH, HEIGHT), layout="constrained")
    panels = dict(zip(AXES, figure.subplots(1, 2, sharey=True), strict=True))
    for kind, axes in panels.items():
        for letter, (name, colour, style) in ARMS.items():
            if letter not in found["arms"]:
                continue
            curve = found["arms"][letter]["regret_curve"].get(kind)
            if curve is None:  # seconds are simulated with shared hops only
                continue
            grid = found["grid"][kind]
            low, median, high = ([100 * v for v in curve[q]] for q in ("low", "median", "high"))
            ours = letter == "f"
            axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(grid, median, style, color=colour, label=name, linewidth=2.4 if ours else 1.6)
        _scale(axes, AXES[kind])
    if found["oracle_cost_to_regret"]:
        cost = found["oracle_cost_to_regret"]["median"]
        star = {"color": figures.BLACK, "markersize": 11, "label": "oracle, at 1%"}
        panels["cost"].plot([cost], [1.0], "*", **star)
    panels["cost"].set_ylabel("missing share of the hypervolume")
    names = panels["cost"].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=3, fontsize=9.5, columnspacing=1.4)
    return figure


def _scale(axes: Axes, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=title, ylim=(100 * LEAST, 100))
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(figures.PERCENT_OF_ANY_SIZE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(figures.NO_TICKS)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--result", type=Path, default=common.RESULTS / "search.json", help="stored result"
    )
    args = parser.parse_args()
    result = json.loads(args.result.read_text("utf-8"))
    with figures.styled():
        for name, found in result["tables"].items():
            file = args.result.with_name(f"{args.result.stem}-{name}.svg")
            figures.save(draw(found["views"]["own"]), file)


if __name__ == "__main__":
    main()
