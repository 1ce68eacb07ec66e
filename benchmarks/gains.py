"""What do distillation, the recipe, earlier epochs of the teacher, and assistants each gain?

All chains of the tables are trained, so nothing is searched. There are two ways to count, both in
pairs of equal replicates:

- **Freedoms.** Of the chains of one student, the best is chosen by all replicates but one, and its
  accuracy is read in that one, in turn: no chain is chosen and valued by the same luck. What more
  chains to choose from add is what a freedom is worth: to learn from a teacher, to choose the
  recipe (loss and temperature), to learn from an earlier epoch, to use assistants.
- **Chains.** Each chain with assistants less direct distillation by the same recipe: their mean,
  and how many gains and losses are left after Holm's correction in their table.

Intervals are t intervals of 95 % over replicates, which share the validation samples. The figure is
results/gains.svg.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure
from scipy.stats import t as student_t

from benchmarks import common, figures
from benchmarks.search_methods import load
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.recipe import LABELS_ONLY, PROGRESSIVE, TRAINED, Recipe
from tasearch.chains.rungs import rung_epochs, teaching_rung
from tasearch.confirmation.statistics import holm

NAMES = (
    "digits",
    "digits-earlier",
    "mnist-converged",
    "mnist-earlier",
    "census",
    "parity",
    "parity-earlier",
    "cifar10",
    "digits-losses",
    "mnist-losses",
)
ALPHA = 0.05
LEARNED = 0.95  # of the way from guessing to its end: a teacher has learned
LABELS, FIRST = "labels alone", "direct, first recipe"
RECIPES, EPOCHS = "direct, any recipe", "direct, any recipe and epoch"
ASSISTANTS, ALL = "assistants, any recipe", "assistants, any recipe and epoch"
AFTER = "assistants after earlier epochs"
STEPS = {  # what more chains to choose from add: those of the second name to those of the first
    "a teacher": (LABELS, FIRST),
    "the recipe": (FIRST, RECIPES),
    "an earlier epoch": (RECIPES, EPOCHS),
    "assistants": (RECIPES, ASSISTANTS),
    AFTER: (EPOCHS, ALL),
}
SHOWN = ("a teacher", "the recipe", "an earlier epoch", "assistants")  # in the figure


def freedoms_of(chain: Chain, table: Table) -> Iterator[str]:
    """The sets that a chain is in, by their names."""
    if not chain.student.distilled:
        yield LABELS
        return
    early = any(model.early for model in chain.models)
    first, *_ = table.manifest.study.recipes("student").one_per_loss()
    yield ALL
    if not early:
        yield ASSISTANTS
    if not chain.assistants:
        yield EPOCHS
        if not early:
            yield RECIPES
        if chain.student.recipe == first:
            yield FIRST


def accuracies(chain: Chain, table: Table) -> tuple[float, ...]:
    """A student's accuracy in each replicate, in percent."""
    return tuple(100 * curve[-1] for curve in table[chain.hop()].curves)


def chosen_by_others(chains: Sequence[Sequence[float]]) -> list[float]:
    """The accuracy in each replicate of the chain that is best in the mean of all others.

    Args:
        chains: Accuracies of each chain, by replicate.
    """
    return [
        max(chains, key=lambda own: fmean(v for i, v in enumerate(own) if i != left_out))[left_out]
        for left_out in range(len(chains[0]))
    ]


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean of one value a replicate, and its t interval."""
    mean, error = fmean(values), stdev(values) / math.sqrt(len(values))
    half = float(student_t.ppf(1 - ALPHA / 2, len(values) - 1)) * error
    return {"mean": mean, "low": mean - half, "high": mean + half}


def less(own: Sequence[float], other: Sequence[float]) -> list[float]:
    """Differences, replicate by replicate."""
    return [a - b for a, b in zip(own, other, strict=True)]


Worth = dict[str, list[float]]  # a value for each replicate, by name


def worth(chains: Iterable[Chain], table: Table) -> tuple[Worth, Worth]:
    """What the freedoms are worth to one student.

    Args:
        chains: All chains of the student.
        table: Their table.

    Returns:
        The accuracy with each freedom, in percent; and what each step adds, in points.
    """
    sets: dict[str, list[tuple[float, ...]]] = {}
    for chain in chains:
        for name in freedoms_of(chain, table):
            sets.setdefault(name, []).append(accuracies(chain, table))
    best = {name: chosen_by_others(own) for name, own in sets.items()}
    adds = {
        step: less(best[many], best[few])
        for step, (few, many) in STEPS.items()
        if few in sets and many in sets and sets[few] != sets[many]
    }
    if sets.get(RECIPES) == sets.get(EPOCHS):
        adds.pop(AFTER, None)  # the same as without earlier epochs
    return best, adds


def differences(table: Table) -> dict[Chain, list[float]]:
    """Each chain with assistants less the direct one by the same recipe, in points by replicate."""
    space = table.space(table.manifest)
    found = {}
    for chain in space:
        direct = space.direct(chain)
        if chain.assistants and direct is not None:
            found[chain] = less(accuracies(chain, table), accuracies(direct, table))
    return found


def p_value(values: Sequence[float], least: float) -> float:
    """Two-sided p value of a mean difference.

    Args:
        values: Differences by replicate.
        least: Smallest standard deviation to believe, such as that of one validation sample.
    """
    error = max(stdev(values), least) / math.sqrt(len(values))
    return float(2 * student_t.sf(abs(fmean(values)) / error, len(values) - 1))


def survivors(found: Iterable[Sequence[float]], least: float) -> dict[str, int]:
    """How many mean differences are gains, or losses, after Holm's correction.

    Args:
        found: Differences by replicate, for each comparison.
        least: See `p_value`.
    """
    means, ps = [], []
    for values in found:
        means.append(fmean(values))
        ps.append(p_value(values, least))
    left = [mean for mean, p in zip(means, holm(ps), strict=True) if p <= ALPHA]
    gains = sum(mean > 0 for mean in left)
    return {"compared": len(ps), "gains": gains, "losses": len(left) - gains}


def by_loss(table: Table) -> dict[str, dict[str, float]]:
    """Each loss without assistants less the first one, in points, mean over students."""
    first, *others = table.manifest.study.recipes("student").one_per_loss()
    direct = {
        (chain.student.width, chain.student.recipe): accuracies(chain, table)
        for chain in table.space(table.manifest)
        if not chain.assistants
    }
    widths = {width for width, _ in direct}
    return {
        other.loss: _of_mean([less(direct[w, other], direct[w, first]) for w in widths])
        for other in others
    }


def by_options(table: Table) -> dict[str, Callable[[Chain], bool]]:
    """Groups of chains by the student's loss and guidance, where both are searched."""
    student = table.manifest.study.recipes("student").options
    losses = [loss for loss in student["loss"] if loss != LABELS_ONLY]
    if len(losses) < 2 or len(student["guidance"]) < 2:
        return {}

    def belongs(chain: Chain, loss: object, guidance: object) -> bool:
        recipe = chain.student.recipe
        return recipe is not None and (recipe.loss, recipe.guidance) == (loss, guidance)

    return {
        f"{loss}, {guidance}": functools.partial(belongs, loss=loss, guidance=guidance)
        for loss in losses
        for guidance in student["guidance"]
    }


def groups(table: Table) -> dict[str, Callable[[Chain], bool]]:
    """Groups of chains about which the field has claims, by name."""
    params = {width: m.params for width, m in table.manifest.measured.items()}
    half = params[table.teacher.width] / 2
    return {
        "all": lambda chain: True,
        "one assistant, at least half the teacher": lambda chain: (
            len(chain.assistants) == 1 and params[chain.assistants[0].width] >= half
        ),
        "one assistant, less than half the teacher": lambda chain: (
            len(chain.assistants) == 1 and params[chain.assistants[0].width] < half
        ),
        "two assistants": lambda chain: len(chain.assistants) == 2,
        "three assistants": lambda chain: len(chain.assistants) == 3,
        **by_options(table),
    }


def learned_at(curve: Sequence[float], rungs: Sequence[int], classes: int) -> int:
    """The rung, from 1, at which a model has come `LEARNED` of the way from guessing to its end.

    Args:
        curve: Its accuracy after each epoch, 0..1.
        rungs: Epochs of the rungs.
        classes: Number of classes.
    """
    guess = 1 / classes
    wanted = guess + LEARNED * (curve[-1] - guess)
    return next(place for place, epoch in enumerate(rungs, 1) if curve[epoch - 1] >= wanted)


def by_teachers_progress(table: Table) -> dict[str, dict[str, Any]]:
    """What early teachers add over trained ones, by how far they had come.

    Replicates are grouped, for each share of the teacher's epochs, by whether their teacher had
    not learned yet (see `learned_at`), had just learned, at this rung, or had learned before.

    Returns:
        By share and group, the number of replicates, and the accuracy with the early teacher less
        that with the trained one, in points: the mean over students and recipes, by replicate.
    """
    curves = table[table.teacher_hop].curves
    rungs = rung_epochs(len(curves[0]), table.manifest.study.search.rungs)
    learned = [learned_at(curve, rungs, table.manifest.classes) for curve in curves]
    gains: dict[float | str, list[list[float]]] = {}  # by epoch of the teacher
    recipes: dict[float | str, Recipe] = {}  # one with each
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if chain.assistants or recipe is None or not recipe.early:
            continue
        end = replace(chain.student, recipe=replace(recipe, teacher_epoch=TRAINED))
        trained = accuracies(Chain(models=(chain.models[0], end)), table)
        gains.setdefault(recipe.teacher_epoch, []).append(less(accuracies(chain, table), trained))
        recipes[recipe.teacher_epoch] = recipe
    found: dict[str, dict[str, Any]] = {}
    for share, own in gains.items():
        by_replicate = [fmean(values) for values in zip(*own, strict=True)]
        members: dict[str, list[float]] = {"in all": by_replicate}
        if share != PROGRESSIVE:
            rung = teaching_rung(recipes[share], 0, len(rungs))
            members = {"not yet": [], "just": [], "long before": []}
            for value, at in zip(by_replicate, learned, strict=True):
                group = "not yet" if at > rung else "just" if at == rung else "long before"
                members[group].append(value)
        found[str(share)] = {
            name: {"replicates": len(values), **(interval(values) if len(values) > 1 else {})}
            for name, values in members.items()
        }
    return found


def summarize(table: Table) -> dict[str, Any]:
    """What one table says."""
    manifest = table.manifest
    students: dict[int, list[Chain]] = {}
    for chain in table.space(manifest):
        students.setdefault(chain.student.width, []).append(chain)
    found = differences(table)
    chosen = {
        name: [values for chain, values in found.items() if belongs(chain)]
        for name, belongs in groups(table).items()
    }
    values = {width: worth(own, table) for width, own in students.items()}
    steps = [step for step in STEPS if all(step in adds for _, adds in values.values())]
    return {
        "replicates": table.replicates,
        "teacher": interval([100 * curve[-1] for curve in table[table.teacher_hop].curves]),
        "params": {str(width): m.params for width, m in manifest.measured.items()},
        "students": {
            str(width): {"accuracy": _intervals(accuracy), "adds": _intervals(adds)}
            for width, (accuracy, adds) in values.items()
        },
        # students and chains share replicates: the intervals are those of their mean, by replicate
        "adds": {step: _of_mean([adds[step] for _, adds in values.values()]) for step in steps},
        "chains": {name: _of_mean(own) for name, own in chosen.items() if own},
        "losses": by_loss(table),
        "early_teachers": by_teachers_progress(table),
        "after_holm": survivors(found.values(), 100 / manifest.validation),
    }


def _intervals(values: Worth) -> dict[str, dict[str, float]]:
    return {name: interval(own) for name, own in values.items()}


def _of_mean(values: Sequence[Sequence[float]]) -> dict[str, float]:
    return interval([fmean(own) for own in zip(*values, strict=True)])


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
    colours = (figures.GREEN, figures.ORANGE, figures.VERMILION, figures.BLUE)
    for axes, step, colour in zip(panels, SHOWN, colours, strict=True):
        for place, (_, width, adds) in enumerate(rows):
            value = adds.get(step)
            if value is not None:
                style: dict[str, Any] = {"color": colour, "linewidth": 1.2 if width else 3}
                axes.plot([value["low"], value["high"]], [place, place], **style)
                axes.plot([value["mean"]], [place], "o", markersize=4 if width else 6, **style)
        axes.axvline(0, color=figures.GREY, linewidth=0.8)
        axes.set_xscale("symlog", linthresh=2)
        axes.set_xticks([-20, -2, 0, 2, 20], ["−20", "−2", "0", "2", "20"])
        axes.xaxis.set_minor_locator(figures.NO_TICKS)
        axes.set_title(step, fontsize=10.5)
        axes.set_xlabel("points")
    panels[0].set_yticks(range(len(rows)), [f"width {w}" if w else n for n, w, _ in rows])
    panels[0].margins(y=0.01)
    panels[0].invert_yaxis()
    return figure


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--tables", nargs="+", default=NAMES, choices=NAMES, help="tables to read")
    common.add_out_option(parser, "gains.json")
    args = parser.parse_args()
    tables = {name: summarize(load(name)) for name in args.tables}
    result = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "tables": tables,
    }
    common.write_json(args.out, result)
    with figures.styled():
        figures.save(draw(tables), args.out.with_suffix(".svg"))
    show(tables)


if __name__ == "__main__":
    main()
