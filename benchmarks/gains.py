"""What do distillation, the recipe, earlier epochs of the teacher, and assistants each gain?

All chains of the tables are trained, so nothing is searched. There are two ways to count, both in
pairs of equal replicates:

- **Freedoms.** Of the chains of one student, the best is chosen by all replicates but one, and its
  accuracy is read in that one, in turn: no chain is chosen and valued by the same luck. What more
  chains to choose from add is what a freedom is worth: to learn from a teacher, to choose the
  recipe (loss and temperature), to learn from an earlier epoch, to use assistants. Where learning
  rates are searched, each of these has any rate, and is counted at the first rate alone as well.
- **Chains.** Each chain with assistants less direct distillation by the same recipe: their mean,
  and how many gains and losses are left after Holm's correction in their table.

Intervals are t intervals of 95 % over replicates, which share the validation samples. The figure is
results/gains.svg.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from benchmarks import common, figures
from benchmarks.early_teachers import by_teachers_progress
from benchmarks.freedoms import STEPS, Worth, accuracies, searches_rates, worth
from benchmarks.gains_output import draw, show
from benchmarks.paired import chosen_by_others, interval, less, survivors
from benchmarks.search_methods import load
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.recipe import LABELS_ONLY

NAMES = (
    "digits",
    "digits-earlier",
    "mnist-converged",
    "mnist-earlier",
    "census",
    "trec",
    "parity",
    "parity-earlier",
    "cifar10",
    "digits-losses",
    "mnist-losses",
    "digits-rates",
)


ByStudent = dict[int, list[tuple[float, ...]]]  # accuracies of chains by student
ByLoss = dict[str, ByStudent]


def differences(table: Table) -> dict[Chain, list[float]]:
    """Each chain with assistants less the direct one by the same recipe, in points by replicate."""
    space = table.space(table.manifest)
    found = {}
    for chain in space:
        direct = space.direct(chain)
        if chain.assistants and direct is not None:
            found[chain] = less(accuracies(chain, table), accuracies(direct, table))
    return found


def by_loss(table: Table) -> dict[str, dict[str, float]]:
    """Each loss without assistants less the first one, in points, mean over students.

    Where learning rates are searched, each loss has the best one for each student, chosen by all
    replicates but one.
    """
    return _less_first(_direct_by_loss(table))


def assistants_by_loss(table: Table) -> dict[str, dict[str, float]]:
    """What assistants add to the student's loss, in points, mean over students.

    Both sides have the best of their chains, chosen by all replicates but one: the learning rate,
    and with assistants also their widths, losses and rates.
    """
    direct, behind = _direct_by_loss(table), dict[str, ByStudent]()
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if chain.assistants and recipe is not None and not recipe.early:
            students = behind.setdefault(recipe.loss, {})
            students.setdefault(chain.student.width, []).append(accuracies(chain, table))
    return {
        loss: _of_mean(
            [
                less(chosen_by_others(own), chosen_by_others(direct[loss][w]))
                for w, own in by.items()
            ]
        )
        for loss, by in behind.items()
    }


def by_rate(table: Table) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracy of each loss without assistants at each learning rate, mean over students."""
    found: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if not chain.assistants and recipe is not None:
            rates = found.setdefault(recipe.loss, {})
            rates.setdefault(f"{recipe.learning_rate:g}", []).append(accuracies(chain, table))
    return {
        loss: {rate: _of_mean(own) for rate, own in rates.items()} for loss, rates in found.items()
    }


def _direct_by_loss(table: Table) -> ByLoss:
    """Accuracies of direct chains by loss and student, with the first recipe of each loss.

    Where learning rates are searched, there is one for each rate.
    """
    firsts = table.manifest.study.recipes("student").one_per_loss()
    found: ByLoss = {recipe.loss: {} for recipe in firsts}
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if chain.assistants or recipe is None:
            continue
        if replace(recipe, learning_rate=firsts[0].learning_rate) in firsts:
            students = found[recipe.loss]
            students.setdefault(chain.student.width, []).append(accuracies(chain, table))
    return found


def _less_first(found: ByLoss) -> dict[str, dict[str, float]]:
    first, *others = found
    return {loss: _best_less(found[loss], found[first]) for loss in others}


def _best_less(own: ByStudent, other: ByStudent) -> dict[str, float]:
    """The best of some chains less the best of others, mean over students."""
    return _of_mean(
        [less(chosen_by_others(own[width]), chosen_by_others(other[width])) for width in own]
    )


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


def of_rates(table: Table) -> dict[str, Any]:
    """What there is to say where learning rates are searched; else nothing."""
    if not searches_rates(table):
        return {}
    return {"rates": by_rate(table), "assistants_by_loss": assistants_by_loss(table)}


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
        **of_rates(table),
        "early_teachers": by_teachers_progress(table),
        "after_holm": survivors(found.values(), 100 / manifest.validation),
    }


def _intervals(values: Worth) -> dict[str, dict[str, float]]:
    return {name: interval(own) for name, own in values.items()}


def _of_mean(values: Sequence[Sequence[float]]) -> dict[str, float]:
    return interval([fmean(own) for own in zip(*values, strict=True)])


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
