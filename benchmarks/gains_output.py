"""What `benchmarks.gains` has counted, in text and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmarks import figures
from benchmarks.freedoms import FIRST

SHOWN = ("the learning rate", "a teacher", "the recipe", "an earlier epoch", "assistants")


def show(tables: Mapping[str, Any]) -> None:
    """Print what each table says."""
    for name, found in tables.items():
        teacher = found["teacher"]["mean"]
        print(f"\n{name}: {found['replicates']} replicates, teacher {teacher:.1f} %")
        for width, student in found["students"].items():
            direct = student["accuracy"][FIRST]["mean"]
            adds = [f"{step} {_text(value)}" for step, value in student["adds"].items()]
            print(f"  {width:>3}: direct {direct:.1f} %; " + "; ".join(adds))
        for step, value in found["adds"].items():
            print(f"  all students, {step}: {_text(value)}")
        for group, value in found["chains"].items():
            print(f"  chains, {group}: {_text(value)}")
        for loss, value in found["losses"].items():
            print(f"  all students, direct by {loss} less the first loss: {_text(value)}")
        for loss, rates in found.get("rates", {}).items():
            texts = [f"{value['mean']:.1f} % at {rate}" for rate, value in rates.items()]
            print(f"  all students, direct by {loss}: {', '.join(texts)}")
        for loss, value in found.get("assistants_by_loss", {}).items():
            print(f"  all students, assistants by {loss} less direct by it: {_text(value)}")
        for share, by_progress in found["early_teachers"].items():
            for group, value in by_progress.items():
                gain = _text(value) if "mean" in value else "-"
                if value["replicates"]:
                    count = f"{value['replicates']} teachers, learned {group}"
                    print(f"  teacher at {share} less trained, {count}: {gain}")
        print(f"  after Holm's correction: {found['after_holm']}")


def _text(value: Mapping[str, float]) -> str:
    return f"{value['mean']:+.1f} ({value['low']:+.1f} to {value['high']:+.1f})"


def draw(tables: Mapping[str, Any]) -> Figure:
    """What each freedom adds to each student, in points, with intervals.

    Args:
        tables: What `summarize` says of each table, by name.
    """
    rows = [
        (name, width, found["students"][width]["adds"] if width else found["adds"])
        for name, found in tables.items()
        for width in ("", *found["students"])
    ]
    figure = Figure(figsize=(figures.WIDTH, 1.2 + 0.2 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(SHOWN), sharey=True)
    colours = (figures.PURPLE, figures.GREEN, figures.ORANGE, figures.VERMILION, figures.BLUE)
    for axes, step, colour in zip(panels, SHOWN, colours, strict=True):
        for place, (_, width, adds) in enumerate(rows):
            value = adds.get(step)
            if value is not None:
                style: dict[str, Any] = {"color": colour, "linewidth": 1.2 if width else 3}
                axes.plot([value["low"], value["high"]], [place, place], **style)
                axes.plot([value["mean"]], [place], "o", markersize=4 if width else 6, **style)
        axes.axvline(0, color=figures.GREY, linewidth=0.8)
        axes.set_xscale("symlog", linthresh=2)
        axes.set_xticks([-20, -2, 0, 2, 20], ["−20", "", "0", "", "20"])
        axes.xaxis.set_minor_locator(figures.NO_TICKS)
        axes.set_title(step, fontsize=10.5)
        axes.set_xlabel("points")
    panels[0].set_yticks(range(len(rows)), [_row(n, w) for n, w, _ in rows])
    panels[0].margins(y=0.01)
    panels[0].invert_yaxis()
    return figure


def _row(table: str, width: str) -> str:
    """The name of a row of the figure: of a table, or of one of its students."""
    if not width:
        return table
    return f"width {width}" if width.isdigit() else f"size {width}"
