"""Do inherited weights and feature losses make better students, direct or behind an assistant?

Students of family cnn start from random weights, or from their teacher's most important channels
(`inheritance`); they learn from the teacher's logits alone, or from its hidden layers as well
(`feature_losses`); directly, or behind an assistant that is trained in the same way. The models
are trained by a plain loop (`stacked_hops`).

- **Choice.** Factor of the learning rate and weight of the feature loss are chosen, for each loss
  and length, by replicates that are not reported, with direct distillation.
- **Epochs.** A student that inherits behind an assistant has weights that were trained in two hops.
  So a chain is compared with direct distillation of as many epochs as a hop, and of twice as many.
- **Pairs.** Within a replicate all runs have the same teacher, the same random weights, the same
  batches. A question is asked of the mean over the students; intervals are t intervals of 95 % over
  replicates, and p values are corrected by Holm's method over all questions of a data set.

Each training is stored when it is done: the same command goes on. MNIST is read from --data, a
folder with train.parquet and test.parquet.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import common
from benchmarks.chain_runs import CHOOSING, REPORTED, Case, Chain, Length, Runs, study_of
from benchmarks.feature_losses import ATTENTION, PROJECTED
from benchmarks.paired import ALPHA, interval, less, p_value
from benchmarks.stacked_hops import Hops, Method
from tasearch.confirmation.statistics import holm

WEIGHTS = {  # the first is the paper's, or that of later comparisons
    ATTENTION: (1000.0, 10.0),
    PROJECTED: (100.0, 1.0),
}
RANDOM, INHERITED = "random", "inherited"
DIRECT, TWICE = "direct", "direct, twice the epochs"

CASES = {
    "digits": Case(
        study="digits",
        losses=("dist", "kd"),
        assistants=(24,),
        students=(8, 4, 2),
        lengths=(
            Length(epochs=10, chosen_at=10),
            Length(epochs=40, chosen_at=40, rates=(1.0, 3.0, 0.3)),
        ),
        replicates=(8, 4),
    ),
    "mnist": Case(  # what is left out takes hours
        study="mnist-converged",
        losses=("dist",),
        assistants=(12,),
        students=(6, 4, 2),
        lengths=(Length(epochs=10, chosen_at=10),),
        replicates=(6, 2),
    ),
}


def chosen(runs: Runs, loss: str, length: Length) -> dict[str, Method]:
    """The methods that are compared, by name, each with the rate and weight that is best.

    Args:
        runs: Trainings of the case.
        loss: Loss of the logits.
        length: Number of epochs.
    """
    teacher = runs.study.teacher.width

    def accuracy(method: Method) -> float:
        students = runs.case.students
        own = [runs.accuracies(CHOOSING, (teacher, w), method, length.chosen_at) for w in students]
        return fmean(itertools.chain(*own))

    found = {}
    for start in (RANDOM, INHERITED):
        first = Method(loss=loss, inherits=start == INHERITED)
        found[start] = max((replace(first, rate=rate) for rate in length.rates), key=accuracy)
        for feature in length.features:
            tried = (
                replace(found[start], feature=feature, weight=weight) for weight in WEIGHTS[feature]
            )
            found[f"{start}, {feature}"] = max(tried, key=accuracy)
    return found


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a method, and a place of the student.

    Args:
        method: Name of the method.
        place: `DIRECT`, `TWICE`, or the width of the assistant.
    """

    method: str
    place: str | int

    def __str__(self) -> str:
        place = self.place if isinstance(self.place, str) else f"behind {self.place}"
        return f"{self.method}, {place}"


def questions(case: Case, length: Length) -> Iterator[tuple[Side, Side]]:
    """The comparisons of a length: the first side less the second one."""
    more = [INHERITED, *(f"{RANDOM}, {feature}" for feature in length.features)]
    places: tuple[str | int, ...] = (DIRECT, TWICE, *case.assistants)
    for place in places:
        for method in more:
            yield Side(method=method, place=place), Side(method=RANDOM, place=place)
    for feature in length.features:
        both = Side(method=f"{INHERITED}, {feature}", place=DIRECT)
        yield both, Side(method=INHERITED, place=DIRECT)
    for assistant in case.assistants:
        for method in (RANDOM, *more):
            chain = Side(method=method, place=assistant)
            yield chain, Side(method=method, place=DIRECT)
            yield chain, Side(method=method, place=TWICE)


def part(runs: Runs, loss: str, length: Length) -> dict[str, Any]:
    """What one loss and one length say; trains what is not trained yet."""
    case, methods = runs.case, chosen(runs, loss, length)
    teacher = runs.study.teacher.width

    def by_student(side: Side) -> list[list[float]]:
        between = (side.place,) if isinstance(side.place, int) else ()
        epochs = length.epochs * (2 if side.place == TWICE else 1)
        chains: list[Chain] = [(teacher, *between, student) for student in case.students]
        method = methods[side.method]
        return [runs.accuracies(REPORTED, chain, method, epochs) for chain in chains]

    pairs = [*questions(case, length)]
    ordered = sorted(
        {*itertools.chain(*pairs)}, key=lambda side: (PROJECTED in str(side), str(side))
    )
    sides = {side: by_student(side) for side in ordered}  # the slowest last
    least = 100 / len(runs.hops(REPORTED).validation[1]) / len(case.students)
    found = []
    for one, other in pairs:
        gains = [less(a, b) for a, b in zip(sides[one], sides[other], strict=True)]
        mean = [fmean(own) for own in zip(*gains, strict=True)]
        found.append(
            {
                "of": str(one),
                "less": str(other),
                **interval(mean),
                "p": p_value(mean, least),
                "students": dict(zip(map(str, case.students), map(interval, gains), strict=True)),
            }
        )
    return {
        "rates": rates(runs, loss, length),
        "methods": {name: asdict(method) for name, method in methods.items()},
        "accuracies": {
            str(side): {str(w): fmean(v) for w, v in zip(case.students, own, strict=True)}
            for side, own in sides.items()
        },
        "differences": found,
    }


def rates(runs: Runs, loss: str, length: Length) -> dict[str, Any]:
    """What other learning rates add, and inheriting at each, in the mean over students.

    It is direct distillation without feature losses, by the replicates that choose.
    """

    def accuracies(method: Method) -> list[float]:
        chains = [(runs.study.teacher.width, student) for student in runs.case.students]
        own = [runs.accuracies(CHOOSING, chain, method, length.chosen_at) for chain in chains]
        return [fmean(values) for values in zip(*own, strict=True)]

    found, study = {}, accuracies(Method(loss=loss))
    for rate in sorted(length.rates):
        random, inherited = (
            accuracies(Method(loss=loss, inherits=inherits, rate=rate))
            for inherits in (False, True)
        )
        found[f"{rate:g}"] = {
            RANDOM: fmean(random),
            f"{RANDOM} less the study's rate": interval(less(random, study)),
            f"{INHERITED} less {RANDOM}": interval(less(inherited, random)),
        }
    return found


def correct(parts: Mapping[str, Any]) -> dict[str, int]:
    """Add Holm's correction over all questions of a case; how many gains and losses are left."""
    rows = [row for found in parts.values() for row in found["differences"]]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["corrected_p"] = p
    left = [row["mean"] for row in rows if row["corrected_p"] <= ALPHA]
    gains = sum(mean > 0 for mean in left)
    return {"compared": len(rows), "gains": gains, "losses": len(left) - gains}


def costs(hops: Hops, teacher: int, student: int, epochs: int) -> dict[str, float]:
    """Training FLOPs of a hop with a feature loss, over those without one.

    Without it, the teacher's logits of the training set are computed once and stored. Its hidden
    layers would have to be computed in each epoch, since they are too large to be stored.
    """
    flops = {width: hops.flops(width) for width in (teacher, student)}
    plain = 3 * epochs * flops[student] + flops[teacher]
    online = plain + (epochs - 1) * flops[teacher]
    projected = online + epochs * 3 * hops.projection_flops(student, teacher)
    return {ATTENTION: online / plain, PROJECTED: projected / plain}


def summarize(runs: Runs, losses: Sequence[str], lengths: Sequence[Length]) -> dict[str, Any]:
    """What a case says; trains what is not trained yet.

    Args:
        runs: Trainings of the case.
        losses: Losses of the logits.
        lengths: Numbers of epochs.
    """
    teacher, hops = runs.study.teacher.width, runs.hops(REPORTED)
    parts = {
        f"{loss}, {length.epochs} epochs": part(runs, loss, length)
        for length in lengths
        for loss in losses
    }
    return {
        "first_training": {key: runs.content["provenance"].get(key) for key in ("date", "commit")},
        "replicates": dict(zip((REPORTED, CHOOSING), runs.case.replicates, strict=True)),
        "samples": {"train": len(hops.x), "validation": len(hops.validation[1])},
        "teachers": interval(runs.teachers(REPORTED)),
        "training_flops_with_over_without_features": {
            str(width): costs(hops, teacher, width, lengths[-1].epochs)
            for width in runs.case.students
        },
        "after_holm": correct(parts),
        "parts": parts,
        "accuracies": runs.content["accuracies"],
    }


def show(cases: Mapping[str, Any]) -> None:
    """Print what each case says."""
    for name, case in cases.items():
        print(f"\n{name}: {case['after_holm']}, features cost")
        for width, ratios in case["training_flops_with_over_without_features"].items():
            print(f"  {width}: {', '.join(f'{f} x {r:.1f}' for f, r in ratios.items())}")
        for title, found in case["parts"].items():
            rows = [
                [
                    f"{row['of']} less {row['less']}",
                    _text(row),
                    f"{row['corrected_p']:.3f}",
                    *map(_text, row["students"].values()),
                ]
                for row in found["differences"]
            ]
            head = ["points", "mean", "p", *next(iter(found["differences"]))["students"]]
            print(f"\n{name}, {title}\n{common.table(head, rows)}")


def _text(value: Mapping[str, float]) -> str:
    return f"{value['mean']:+.1f} ({value['low']:+.1f} to {value['high']:+.1f})"


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--cases", nargs="+", default=[*CASES], choices=CASES)
    parser.add_argument("--epochs", nargs="+", type=int, help="lengths of hops; all by default")
    parser.add_argument("--losses", nargs="+", help="losses of the logits; all by default")
    parser.add_argument("--data", type=Path, default=common.ROOT / "../shared/data/mnist")
    parser.add_argument("--runs", type=Path, default=common.ROOT / "runs/better-chains")
    common.add_out_option(parser, "better-chains.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    provenance, found = common.provenance(args), {}
    for name in args.cases:
        case = CASES[name]
        lengths = [n for n in case.lengths if args.epochs is None or n.epochs in args.epochs]
        losses = [loss for loss in case.losses if args.losses is None or loss in args.losses]
        runs = Runs(case, study_of(case, args.data), args.runs / f"{name}.json", provenance)
        found[name] = summarize(runs, losses, lengths)
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "cases": found,
    }
    common.write_json(args.out, result)
    show(found)


if __name__ == "__main__":
    main()
