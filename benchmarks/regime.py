"""Where do assistants help most: at which gap, length of training, temperature and loss?

A grid of cells: student, epochs of a hop, and what it learns by (loss and temperature). In each
cell three ways lead to the student, in pairs of equal replicates:

- **direct**: distilled from the teacher;
- **direct, twice the epochs**: the same with as many epochs as the chain has in its two hops, which
  is the baseline that a sceptic would choose;
- **chain**: behind one assistant, which has as many epochs and learns in the same way.

All models of a grid have one learning rate, so none is chosen here. (With several, that of the
student would be the one which is best in all replicates but one, and the accuracy is read in that
one, in turn; an assistant would have the rate with which it is best itself.) p values are corrected
by Holm's method over all cells of all grids; intervals are t intervals of 95 % over replicates.
Trained hops are kept: the same command goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks import common, figures
from benchmarks.paired import ALPHA, interval, less, p_value
from benchmarks.regime_grids import CHAIN, DIRECT, GRIDS, TWICE, Cell, GridRuns
from benchmarks.trained_chains import TrainedChains
from tasearch.confirmation.statistics import holm

SEED = 1  # the tables have 0
LESS_DIRECT, LESS_TWICE = "less direct", "less direct, twice the epochs"
CONTRASTS = {LESS_DIRECT: DIRECT, LESS_TWICE: TWICE}
AXES = ("gap", "epochs", "loss and temperature")
COLOURS = (figures.SKY, figures.BLUE)


Values = Mapping[Cell, Mapping[str, Sequence[float]]]


def gains(values: Values, contrast: str) -> dict[Cell, list[float]]:
    """The chain less a baseline in each cell, in points by replicate."""
    other = CONTRASTS[contrast]
    return {cell: less(own[CHAIN], own[other]) for cell, own in values.items()}


def of_mean(gained: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean over cells, with its interval over replicates, which the cells share."""
    return interval([fmean(own) for own in zip(*gained, strict=True)])


def by_level(values: Values) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """The mean gain at each level of each axis, by contrast."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for contrast in CONTRASTS:
        gained = gains(values, contrast)
        axes: dict[str, dict[str, list[list[float]]]] = {"all": {"all cells": [*gained.values()]}}
        for cell, own in gained.items():
            for axis, level in cell.levels().items():
                axes.setdefault(axis, {}).setdefault(level, []).append(own)
        for axis, levels in axes.items():
            for level, rows in levels.items():
                found.setdefault(axis, {}).setdefault(level, {})[contrast] = of_mean(rows)
    return found


def summarize(values: Values, least: float) -> dict[str, Any]:
    """What a grid says, before corrections.

    Args:
        values: Accuracies of each cell by way and replicate, in percent.
        least: Points of one validation sample.
    """
    rows = []
    for cell, own in values.items():
        row: dict[str, Any] = {
            **cell.levels(),
            "accuracy": {name: fmean(replicates) for name, replicates in own.items()},
            "accuracies": {name: [*replicates] for name, replicates in own.items()},
        }
        for contrast, other in CONTRASTS.items():
            gained = less(own[CHAIN], own[other])
            row[contrast] = {**interval(gained), "p": p_value(gained, least)}
        rows.append(row)
    return {"levels": by_level(values), "cells": rows}


def correct(grids: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Add Holm's correction over the cells of all grids, and count what is left by contrast."""
    counts = {}
    for contrast in CONTRASTS:
        rows = [row[contrast] for grid in grids.values() for row in grid["cells"]]
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["corrected_p"] = p
        left = [row["mean"] for row in rows if row["corrected_p"] <= ALPHA]
        gained = sum(mean > 0 for mean in left)
        counts[contrast] = {
            "compared": len(rows),
            "gains": gained,
            "losses": len(left) - gained,
            "above": sum(row["mean"] > 0 for row in rows),
        }
    return counts


def show(grids: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Print what each grid says."""
    for name, grid in grids.items():
        teacher = grid["teacher"]["mean"]
        print(f"\n{name}: {grid['replicates']} replicates, teacher {teacher:.1f} %")
        levels = [
            [level, *(_text(own[contrast]) for contrast in CONTRASTS)]
            for axis in grid["levels"].values()
            for level, own in axis.items()
        ]
        print(common.table(["chain", *CONTRASTS], levels))
        rows = [
            [
                ", ".join(row[axis] for axis in AXES),
                *(f"{row['accuracy'][way]:.1f}" for way in (DIRECT, TWICE, CHAIN)),
                *(f"{_text(row[c])} p {row[c]['corrected_p']:.2f}" for c in CONTRASTS),
            ]
            for row in grid["cells"]
        ]
        print(common.table(["cell", DIRECT, TWICE, CHAIN, *CONTRASTS], rows))
    print(f"\nafter Holm's correction: {counts}")


def _text(value: Mapping[str, float]) -> str:
    return f"{value['mean']:+.1f} ({value['low']:+.1f} to {value['high']:+.1f})"


def draw(grids: Mapping[str, Any]) -> Figure:
    """The chain less each baseline, in points with intervals, cell by cell."""
    rows = [(name, row) for name, grid in grids.items() for row in grid["cells"]]
    figure = Figure(figsize=(figures.WIDTH, 1.4 + 0.19 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(CONTRASTS), sharey=True, sharex=True)
    for axes, contrast, colour in zip(panels, CONTRASTS, COLOURS, strict=True):
        for place, (_, row) in enumerate(rows):
            value = row[contrast]
            sure = value["corrected_p"] <= ALPHA
            style: dict[str, Any] = {"color": colour, "linewidth": 3 if sure else 1.2}
            axes.plot([value["low"], value["high"]], [place, place], **style)
            axes.plot([value["mean"]], [place], "o", markersize=6 if sure else 4, color=colour)
        axes.axvline(0, color=figures.GREY, linewidth=0.8)
        axes.set_xscale("symlog", linthresh=2)
        axes.set_xticks([-20, -2, 0, 2, 20], ["−20", "−2", "0", "2", "20"])
        axes.xaxis.set_minor_locator(figures.NO_TICKS)
        axes.set_title(f"chain {contrast}", fontsize=10.5)
        axes.set_xlabel("points")
    names = [f"{name}: {', '.join(row[axis] for axis in AXES)}" for name, row in rows]
    panels[0].set_yticks(range(len(rows)), names, fontsize=8)
    panels[0].margins(y=0.01)
    panels[0].invert_yaxis()
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--grids", nargs="+", default=[*GRIDS], choices=GRIDS)
    parser.add_argument("--runs", type=Path, default=common.ROOT / "runs/regime")
    common.add_out_option(parser, "regime.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    provenance, found = common.provenance(args), {}
    for name in args.grids:
        grid = GRIDS[name]
        study = grid.source.study(seed=SEED, replicates=grid.replicates)
        widths = (study.teacher.width, grid.assistant, *grid.students)
        runs = GridRuns(grid, TrainedChains(study, args.runs / name, widths))
        samples = runs.trained.samples
        found[name] = {
            "replicates": grid.replicates,
            "samples": samples,
            "teacher": runs.teachers(),
            "rates": grid.rates,
            "assistant": grid.assistant,
            **summarize(runs.values(), 100 / samples["validation"]),
        }
    counts = correct(found)
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "after_holm": counts,
        "grids": found,
    }
    common.write_json(args.out, result)
    with figures.styled():
        figures.save(draw(found), args.out.with_suffix(".svg"))
    show(found, counts)


if __name__ == "__main__":
    main()
