"""Is the default learning rate of assistants and students a good one?

Students are trained at several learning rates from labels alone and by distillation, directly from
the teacher, in pairs of equal replicates; a table has such trainings already. For each rate the
error, which is 1 less the accuracy, is divided by that at the default rate; the ratio is the
geometric mean over students and losses, and its interval is a t interval of 95 % over replicates,
on the logarithmic scale. A default is worth a change if it saves a tenth of the error on most data
sets without costing any on one.

"The best of several" is what a list of rates gives: for each student and loss the rate that is best
in all replicates but one, read in that one, in turn. Trained hops are kept: the same command goes
on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import common
from benchmarks.freedoms import accuracies
from benchmarks.paired import chosen_by_others, interval
from benchmarks.search_methods import load
from benchmarks.table import Table
from benchmarks.trained_chains import Chain, Source, TrainedChains

DEFAULT = 0.01  # of the study file
SEED = 1
TABLES = {"digits, adamw": "digits-rates"}
LISTS = ((0.01, 0.03), (0.01, 0.03, 0.1), (0.003, 0.01, 0.03))  # that a study might search


@dataclass(frozen=True, kw_only=True)
class Case:
    """Students of one data set, trained by one optimizer.

    Args:
        source: Study file with data, teacher and training; the teacher has its optimizer.
        students: Widths of students, or names of sizes.
        losses: Losses with their temperatures.
        rates: Learning rates that are tried.
        optimizer: Optimizer of the students.
        epochs: Epochs of the students; None for those of the study.
        replicates: Number of replicates.
    """

    source: Source
    students: tuple[int | str, ...]
    rates: tuple[float, ...]
    losses: tuple[tuple[str, float], ...] = (("ce", 1.0), ("kd", 4.0))
    optimizer: str = "adamw"
    epochs: int | None = None
    replicates: int = 5


CENSUS = Source(file="benchmarks/tables/census.toml")
LABELS = (("ce", 1.0),)

CASES = {
    "digits, sgd": Case(
        source=Source(file="benchmarks/tables/digits-rates.toml"),
        students=(8, 2),
        rates=(0.01, 0.03, 0.1),
        optimizer="sgd",
        replicates=8,
    ),
    "census, adamw": Case(
        source=CENSUS, students=(8, 2), losses=LABELS, rates=(0.003, 0.01, 0.03, 0.1)
    ),
    "census, sgd": Case(
        source=CENSUS, students=(8, 2), losses=LABELS, rates=(0.01, 0.03, 0.1), optimizer="sgd"
    ),
    "parity, adamw": Case(
        source=Source(file="benchmarks/tables/parity.toml"),
        students=(12,),
        losses=(("kd", 4.0),),
        rates=(0.01, 0.03),
        replicates=10,
    ),
    "trec, adamw": Case(
        source=Source(file="studies/trec.toml", data="text/trec"),
        students=("xs",),
        losses=LABELS,
        rates=(0.003, 0.01, 0.03),
        replicates=3,
    ),
}


class CaseRuns:
    """The trainings of a case.

    Args:
        case: The case.
        folder: Folder of the trained hops.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        study = case.source.study(seed=SEED, replicates=case.replicates)
        widths = {str(width): width for width in study.student.widths}
        self.case, self.students = case, [widths[str(own)] for own in case.students]
        self.trained = TrainedChains(study, folder, (study.teacher.width, *self.students))
        self.trained.train(chain for _, chain in self._chains())

    def _chains(self) -> Iterator[tuple[tuple[str, float], Chain]]:
        """Each student's training, by student and loss in words, and by rate."""
        case = self.case
        own = {} if case.epochs is None else {"epochs": case.epochs}
        for width, (loss, temperature), rate in itertools.product(
            self.students, case.losses, case.rates
        ):
            chain = self.trained.after(
                self.trained.teacher(),
                width,
                loss=loss,
                temperature=temperature,
                learning_rate=rate,
                optimizer=case.optimizer,
                **own,
            )
            yield (f"{chain[-1].name or width}, {loss}", rate), chain

    def accuracies(self) -> dict[str, dict[float, tuple[float, ...]]]:
        """Accuracies in percent, by student and loss in words, by rate, by replicate."""
        found: dict[str, dict[float, tuple[float, ...]]] = {}
        for (name, rate), chain in self._chains():
            found.setdefault(name, {})[rate] = self.trained.accuracies(chain)
        return found


def of_table(table: Table) -> dict[str, dict[float, tuple[float, ...]]]:
    """What `CaseRuns.accuracies` is, from a table's chains without assistants."""
    found: dict[str, dict[float, tuple[float, ...]]] = {}
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if not chain.assistants and recipe is not None:
            row = found.setdefault(f"{chain.student.width}, {recipe.loss}", {})
            row[recipe.learning_rate] = accuracies(chain, table)
    return found


Accuracies = Mapping[str, Mapping[float, Sequence[float]]]


def error_ratio(
    own: Sequence[Sequence[float]], other: Sequence[Sequence[float]], least: float
) -> dict[str, float]:
    """Errors over others: the geometric mean over rows, with its interval over replicates.

    Args:
        own: Accuracies in percent, by row and replicate.
        other: Accuracies of the same rows, to be compared with.
        least: Smallest error to count, in points, such as half a validation sample.
    """
    logs = [
        fmean(
            math.log(max(100 - a, least) / max(100 - b, least))
            for a, b in zip(mine, yours, strict=True)
        )
        for mine, yours in zip(zip(*own, strict=True), zip(*other, strict=True), strict=True)
    ]
    return {name: math.exp(value) for name, value in interval(logs).items()}


def ratios(found: Accuracies, least: float) -> dict[str, dict[str, float]]:
    """The error of each rate, and of the best of each list, over that of the default.

    Args:
        found: Accuracies in percent, by row, rate and replicate.
        least: See `error_ratio`.
    """
    rows = [*found.values()]
    default = [row[DEFAULT] for row in rows]
    over = {
        f"{rate:g}": error_ratio([row[rate] for row in rows], default, least)
        for rate in rows[0]
        if rate != DEFAULT
    }
    for rates in LISTS:
        if {*rates} <= rows[0].keys():
            best = [chosen_by_others([row[rate] for rate in rates]) for row in rows]
            name = f"best of {', '.join(f'{rate:g}' for rate in rates)}"
            over[name] = error_ratio(best, default, least)
    return over


def summarize(found: Accuracies, least: float) -> dict[str, Any]:
    """What a case says, with the accuracies by row and rate."""
    return {
        "error_over_default": ratios(found, least),
        "accuracies": {
            name: {f"{rate:g}": [*values] for rate, values in row.items()}
            for name, row in found.items()
        },
    }


def show(cases: Mapping[str, Any]) -> None:
    """Print accuracies, and errors over those at the default rate."""
    for name, case in cases.items():
        print(f"\n{name}: {case['replicates']} replicates")
        rows = [
            [row, *(f"{fmean(values):.1f}" for values in own.values())]
            for row, own in case["accuracies"].items()
        ]
        print(common.table(["accuracy at", *next(iter(case["accuracies"].values()))], rows))
        for rate, value in case["error_over_default"].items():
            text = f"{value['mean']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
            print(f"  error at {rate} over that at {DEFAULT:g}: {text}")


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--cases", nargs="+", default=[*CASES], choices=CASES)
    parser.add_argument("--runs", type=Path, default=common.ROOT / "runs/regime")
    common.add_out_option(parser, "default-rates.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    provenance, found = common.provenance(args), {}
    for name in args.cases:
        runs = CaseRuns(CASES[name], args.runs / name.partition(",")[0])
        found[name] = {
            "replicates": CASES[name].replicates,
            **summarize(runs.accuracies(), 50 / runs.trained.samples["validation"]),
        }
    for name, stored in TABLES.items():
        table = load(stored)
        least = 50 / table.manifest.validation
        found[name] = {"replicates": table.replicates, **summarize(of_table(table), least)}
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "default": DEFAULT,
        "cases": found,
    }
    common.write_json(args.out, result)
    show(found)


if __name__ == "__main__":
    main()
