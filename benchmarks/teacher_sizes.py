"""Is there a largest useful teacher for a student, and a smallest student for a teacher?

Teachers of several widths on scikit-learn's digits, each trained from labels, teach students
directly; no student has a narrower teacher. All is in pairs of equal replicates, and each student
has the learning rate that is best in all replicates but one, read in that one, in turn.

- **Largest teacher.** For each student and loss, each teacher less the largest one. If a larger
  teacher can be too large, a smaller one is better.
- **Smallest student.** For each student, the largest teacher less labels alone. If a student can be
  too small, the teacher adds less, or costs, below some width.

p values are corrected by Holm's method over all comparisons of one kind; intervals are t intervals
of 95 % over replicates. Trained hops are kept, and shared with `benchmarks.regime`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import common
from benchmarks.paired import ALPHA, chosen_by_others, interval, less, p_value
from benchmarks.regime import SEED
from benchmarks.regime_grids import GRIDS, Way
from benchmarks.trained_chains import Chain, TrainedChains
from tasearch.chains.recipe import LABELS_ONLY
from tasearch.confirmation.statistics import holm

GRID = GRIDS["digits"]
TEACHERS = (64, 32, 16, 8, 4)
STUDENTS = (8, 4, 2)
WAYS = (Way(loss="kd"), Way(loss="dist"))
LABELS = Way(loss=LABELS_ONLY)
KINDS = ("teacher_less_largest", "best_teacher_less_largest", "largest_teacher_less_labels")
RATES = (0.03, 0.1)
EPOCHS = 20  # of students, which is a length of the grid's

Accuracies = dict[tuple[str, int], list[float]]  # by teacher or labels, and student


def teachers_of(student: int) -> list[int]:
    """Widths of the teachers of a student."""
    return [width for width in TEACHERS if width > student]


class TeacherRuns:
    """The trainings of all teachers and students.

    Args:
        trained: The trainings of their study.
    """

    def __init__(self, trained: TrainedChains) -> None:
        self.trained = trained
        trained.train(itertools.chain(*(own for _, own in self._chains())))

    def _chains(self) -> Iterator[tuple[tuple[str, str, int], list[Chain]]]:
        """Loss, teacher and student in words, with the chains of all rates."""
        for student in STUDENTS:
            yield (str(LABELS.loss), "labels", student), self._rated(64, student, LABELS)
            for way, teacher in itertools.product(WAYS, teachers_of(student)):
                yield (way.loss, str(teacher), student), self._rated(teacher, student, way)

    def _rated(self, teacher: int, student: int, way: Way) -> list[Chain]:
        return [
            self.trained.after(
                self.trained.teacher(teacher),
                student,
                epochs=EPOCHS,
                loss=way.loss,
                temperature=way.temperature,
                learning_rate=rate,
            )
            for rate in RATES
        ]

    def accuracies(self) -> dict[str, Accuracies]:
        """Accuracy in percent by replicate, by loss, then by teacher and student."""
        found: dict[str, Accuracies] = {}
        for (loss, teacher, student), own in self._chains():
            rated = [self.trained.accuracies(chain) for chain in own]
            found.setdefault(loss, {})[teacher, student] = chosen_by_others(rated)
        return found

    def teachers(self) -> dict[str, dict[str, float]]:
        """Accuracy of each teacher, in percent."""
        return {
            str(width): interval(self.trained.accuracies(self.trained.teacher(width)))
            for width in TEACHERS
        }


def compared(
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]], least: float
) -> dict[str, Any]:
    """Differences with intervals and corrected p values.

    Args:
        pairs: Accuracies of each comparison by name: those of interest, and those to subtract.
        least: Points of one validation sample.
    """
    gained = {name: less(own, other) for name, (own, other) in pairs.items()}
    corrected = holm([p_value(values, least) for values in gained.values()])
    return {
        name: {**interval(values), "corrected_p": p}
        for (name, values), p in zip(gained.items(), corrected, strict=True)
    }


def summarize(found: Mapping[str, Accuracies], least: float) -> dict[str, Any]:
    """What the trainings say of both claims.

    Args:
        found: Accuracies in percent, as `TeacherRuns.accuracies` gives them.
        least: Points of one validation sample.
    """
    largest, labels = str(TEACHERS[0]), found[LABELS.loss]
    smaller, over_labels, chosen = {}, {}, {}
    for loss in (way.loss for way in WAYS):
        own = found[loss]
        for teacher, student in own:
            if teacher != largest:
                name = f"{loss}, student {student}, teacher {teacher}"
                smaller[name] = own[teacher, student], own[largest, student]
        for student in STUDENTS:
            name = f"{loss}, student {student}"
            over_labels[name] = own[largest, student], labels["labels", student]
            every = [own[str(width), student] for width in teachers_of(student)]
            chosen[name] = chosen_by_others(every), own[largest, student]
    return {
        "accuracies": {
            loss: {f"{teacher} to {student}": values for (teacher, student), values in own.items()}
            for loss, own in found.items()
        },
        "teacher_less_largest": compared(smaller, least),
        "best_teacher_less_largest": compared(chosen, least),
        "largest_teacher_less_labels": compared(over_labels, least),
    }


def show(result: Mapping[str, Any]) -> None:
    """Print accuracies and differences."""
    for width, value in result["teachers"].items():
        print(f"teacher {width}: {value['mean']:.1f} %")
    for loss, own in result["accuracies"].items():
        for name, values in own.items():
            print(f"{loss}, {name}: {fmean(values):.1f} %")
    for kind in (
        "teacher_less_largest",
        "best_teacher_less_largest",
        "largest_teacher_less_labels",
    ):
        rows = [
            [
                name,
                f"{v['mean']:+.1f} ({v['low']:+.1f} to {v['high']:+.1f})",
                f"{v['corrected_p']:.3f}{' *' * (v['corrected_p'] <= ALPHA)}",
            ]
            for name, v in result[kind].items()
        ]
        print(f"\n{common.table([kind.replace('_', ' '), 'points', 'p'], rows)}")


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=common.ROOT / "runs/regime")
    common.add_out_option(parser, "teacher-sizes.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = GRID.source.study(seed=SEED, replicates=GRID.replicates)
    trained = TrainedChains(study, args.runs / "digits", {*TEACHERS, *STUDENTS})
    runs = TeacherRuns(trained)
    result = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "replicates": GRID.replicates,
        "epochs": EPOCHS,
        "rates": RATES,
        "samples": trained.samples,
        "teachers": runs.teachers(),
        **summarize(runs.accuracies(), 100 / trained.samples["validation"]),
    }
    common.write_json(args.out, result)
    show(result)


if __name__ == "__main__":
    main()
