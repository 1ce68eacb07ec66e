"""Runs of comparable studies side by side: plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasearch.pareto.hypervolume import hypervolume
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.pareto.reference_box import ReferenceBox
from tasearch.report.front_table import front_rows
from tasearch.report.intervals import Interval, difference_interval
from tasearch.report.rows import Row, rows_of
from tasearch.runs.comparable import check_same_data
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of several runs.

    Args:
        name: Name of the run, unlike those of the others.
        hypervolume: Hypervolume of its finished students in the box of all runs, 0 to 1.
        flops: Training FLOPs, each hop counted once.
        rows: Its finished students.
        samples: Number of samples in the validation set.
    """

    name: str
    hypervolume: float
    flops: float
    rows: tuple[Row, ...]
    samples: int

    @property
    def front(self) -> list[Row]:
        """The members of the front, the smallest first."""
        return front_rows(self.rows)


@dataclass(frozen=True, kw_only=True)
class ComparedStudent:
    """The best student of one size in one run.

    Args:
        run: Name of the run.
        row: The most accurate finished student of this size.
        difference: Accuracy less that of the first run; None for the first run itself, and where
            that has no student of this size.
        interval: The 95 % interval of the difference.
    """

    run: str
    row: Row
    difference: float | None = None
    interval: Interval | None = None

    @property
    def apart(self) -> bool:
        """Whether the difference can be told from 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class ComparedSize:
    """Students of one size in at least two runs.

    Args:
        params: Number of parameters.
        students: The best student of each run that has one, in the order of the runs.
    """

    params: int
    students: tuple[ComparedStudent, ...]


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Several runs side by side.

    Args:
        runs: The runs.
        sizes: The sizes that at least two runs have, the smallest first.
        notice: What the reader should be warned of; empty if there is nothing.
        metric: What the students are compared by.
    """

    runs: tuple[ComparedRun, ...]
    sizes: tuple[ComparedSize, ...]
    notice: str
    metric: Metric = ACCURACY


def compare_runs(runs: Mapping[str, Run]) -> RunComparison:
    """Compare runs whose data are the same.

    Args:
        runs: At least two runs by their names; the others are compared with the first.

    Raises:
        RunError: The data of two runs differ, or a run cannot be read.
    """
    opened = [*runs.values()]
    check_same_data([(run.directory, run.manifest) for run in opened])
    box = common_box(opened)
    compared = tuple(_run(name, run, box) for name, run in runs.items())
    return RunComparison(
        runs=compared, sizes=_sizes(compared), notice=_notice(opened), metric=opened[0].metric
    )


def common_box(runs: Sequence[Run]) -> ReferenceBox:
    """The smallest box in which every student counts that any of the runs may train.

    Hypervolumes can be compared within one box only. This one holds the reference box of each run,
    so no run loses a student at its edge. A box of some fixed size would make differences small or
    cut students off; one of the students that are finished would change with each trial. A run
    whose study has more widths makes the box larger, for all runs alike.

    Args:
        runs: Runs with the same data.
    """
    measured = [size for run in runs for size in run.manifest.candidates.values()]
    return ReferenceBox.from_measurements(measured, metric=runs[0].manifest.metric)


def _run(name: str, run: Run, box: ReferenceBox) -> ComparedRun:
    return ComparedRun(
        name=name,
        hypervolume=hypervolume(run.front.candidates, box),
        flops=run.costs.paid,
        rows=tuple(row for row in rows_of(run) if row.finished),
        samples=run.manifest.validation,
    )


def _sizes(runs: Sequence[ComparedRun]) -> tuple[ComparedSize, ...]:
    best: dict[int, dict[str, Row]] = {}  # by size, then by name of the run
    for run in runs:
        for row in sorted(run.rows, key=lambda row: (-(row.accuracy or 0.0), row.trial)):
            best.setdefault(row.params, {}).setdefault(run.name, row)
    return tuple(
        ComparedSize(
            params=params,
            students=tuple(
                _student(name, row, None if name == runs[0].name else own.get(runs[0].name))
                for name, row in own.items()
            ),
        )
        for params, own in sorted(best.items())
        if len(own) > 1
    )


def _student(name: str, row: Row, first: Row | None) -> ComparedStudent:
    if first is None:
        return ComparedStudent(run=name, row=row)
    assert row.accuracy is not None and row.interval is not None
    assert first.accuracy is not None and first.interval is not None
    return ComparedStudent(
        run=name,
        row=row,
        difference=row.accuracy - first.accuracy,
        interval=difference_interval(row.accuracy, row.interval, first.accuracy, first.interval),
    )


def _notice(runs: Sequence[Run]) -> str:
    """That latencies cannot be compared, if they were not measured alike."""
    first = runs[0].manifest
    for run in runs[1:]:
        if (run.manifest.device, run.manifest.setup) != (first.device, first.setup):
            return (
                f"latencies of {run.path} and {runs[0].path} were not measured alike, so their "
                f"hypervolumes and fronts differ by more than their students; --latency-from takes "
                f"those of another run"
            )
    return ""
