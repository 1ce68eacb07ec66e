"""The front of a finished run as a figure and as numbers, for the README.

    python -m benchmarks.front runs/digits --seconds 60

writes studies/digits-front.json and draws studies/digits-front.svg from it. The seconds are those
of the whole command that made the run, which the run itself does not know. A stored file in place
of the run, such as studies/digits-front.json, is only drawn again.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tasearch
from benchmarks import common, figures

HEIGHT = 4.2  # inches
PACKAGES = ("torch", "optuna", "onnxruntime", "scikit-learn")
ALONE = "trained without a teacher"
MARKERS = {  # how a student was trained: marker, colour
    ALONE: ("s", figures.GREY),
    "distilled from the teacher": ("o", figures.BLUE),
    "behind 1 assistant": ("^", figures.VERMILION),
    "behind 2 assistants": ("D", figures.GREEN),
    "behind 3 assistants": ("P", figures.PURPLE),
}


def facts(run: tasearch.Run, seconds: float) -> dict[str, Any]:
    """What is stored of a run.

    Args:
        run: The finished run.
        seconds: Wall-clock time of the command that made it.
    """
    costs = run.costs
    return {
        "study": f"{run.manifest.study.name}.toml",
        "latency": run.manifest.device,
        "machine": common.machine(),
        "seconds_in_all": seconds,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "trials": dict(Counter(trial.state for trial in run.trials)),
        "chains_within_budget": run.manifest.space,
        "hops": {"trained": costs.hops, "needed": costs.uses},
        "training_flops": {
            "paid": costs.paid,
            "without_sharing": costs.unshared,
            "without_pruning": costs.unpruned,
        },
        "front": [
            {
                "chain": member.chain,
                "loss": member.recipe["student"]["loss"],
                "accuracy": member.accuracy,
                "params": member.params,
                "bytes": member.bytes,
                "latency_ms": member.latency_ms,
                "trial": member.trial,
            }
            for member in run.front.members
        ],
    }


def training(member: Mapping[str, Any]) -> str:
    """How a student of the front was trained: a key of `MARKERS`."""
    assistants = len(member["chain"]) - 2
    if assistants == 0:
        return ALONE if member["loss"] == "ce" else "distilled from the teacher"
    return f"behind {assistants} assistant{'s' if assistants > 1 else ''}"


def label(member: Mapping[str, Any]) -> str:
    """A student's chain, and its accuracy in a second line."""
    widths = member["chain"][-1:] if training(member) == ALONE else member["chain"]
    return f"{' → '.join(map(str, widths))}\n{member['accuracy']:.1%}"


def draw(stored: Mapping[str, Any]) -> Figure:
    """Accuracy against parameters, each student with its chain.

    Args:
        stored: What `facts` returned.
    """
    members = sorted(stored["front"], key=lambda member: member["params"])
    figure = Figure(figsize=(figures.WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    params = [member["params"] for member in members]
    accuracies = [100 * member["accuracy"] for member in members]
    axes.step(params, accuracies, where="post", color=figures.GREY, linestyle=":", label="front")
    for kind, (marker, colour) in MARKERS.items():
        chosen = [member for member in members if training(member) == kind]
        if chosen:
            axes.plot(
                [member["params"] for member in chosen],
                [100 * member["accuracy"] for member in chosen],
                marker,
                label=kind,
                color=colour,
                markersize=9,
                markeredgecolor="white",
            )
    for member in members:
        axes.annotate(
            label(member),
            (member["params"], 100 * member["accuracy"]),
            xytext=(7, -7),
            textcoords="offset points",
            verticalalignment="top",
            fontsize=9.5,
            linespacing=1.25,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    _scale(axes, params, accuracies)
    axes.set(xlabel="parameters of the student", ylabel="validation accuracy")
    axes.legend(loc="lower right")
    return figure


def _scale(axes: Axes, params: Sequence[int], accuracies: Sequence[float]) -> None:
    """Logarithmic parameters and percents, with room for the labels to the right and below."""
    axes.set_xscale("log")
    axes.set_xlim(0.88 * params[0], params[-1] * (params[-1] / params[0]) ** 0.17)
    spread = max(accuracies) - min(accuracies)
    axes.set_ylim(min(accuracies) - 0.2 * spread, min(100.0, max(accuracies) + 0.08 * spread))
    axes.xaxis.set_major_locator(figures.decades(1, 2, 5))
    axes.xaxis.set_minor_locator(figures.NO_TICKS)
    axes.xaxis.set_major_formatter(figures.THOUSANDS)
    axes.yaxis.set_major_formatter(figures.PERCENT)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("source", type=Path, help="a finished run, or a stored *-front.json")
    parser.add_argument("--seconds", type=float, help="time of the command that made the run")
    args = parser.parse_args()
    file = args.source
    if file.is_dir():
        if args.seconds is None:
            parser.error("a run needs --seconds, the time of the command that made it")
        run = tasearch.Run.open(args.source)
        file = common.ROOT / "studies" / f"{run.manifest.study.name}-front.json"
        common.write_json(file, facts(run, args.seconds))
    with figures.styled():
        figures.save(draw(json.loads(file.read_text("utf-8"))), file.with_suffix(".svg"))


if __name__ == "__main__":
    main()
