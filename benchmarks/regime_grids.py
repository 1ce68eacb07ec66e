"""The grids of `benchmarks.regime`, and their trainings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from benchmarks.paired import chosen_by_others, interval
from benchmarks.trained_chains import Chain, Source, TrainedChains

DIRECT, TWICE, CHAIN = "direct", "direct, twice the epochs", "chain"


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a model learns by.

    Args:
        loss: A name in `tasearch.train.losses.LOSSES`.
        temperature: Temperature of the softmax.
    """

    loss: str
    temperature: float = 4.0

    def __str__(self) -> str:
        return f"{self.loss}, temperature {self.temperature:g}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place in a grid.

    Args:
        student: Width of the student.
        epochs: Epochs of each hop.
        way: What assistant and student learn by.
    """

    student: int
    epochs: int
    way: Way

    def levels(self) -> dict[str, str]:
        """The cell's level on each axis, by the axis' name."""
        return {
            "gap": f"student {self.student}",
            "epochs": f"{self.epochs} epochs a hop",
            "loss and temperature": str(self.way),
        }


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of one data set.

    Args:
        source: Study file with data, teacher and training.
        assistant: Width of the assistant.
        students: Widths of students.
        epochs: Epochs of a hop.
        ways: What assistant and student learn by.
        rates: Learning rates that are tried.
        replicates: Number of replicates.
    """

    source: Source
    assistant: int
    students: tuple[int, ...]
    epochs: tuple[int, ...]
    ways: tuple[Way, ...]
    rates: tuple[float, ...]
    replicates: int

    def cells(self) -> list[Cell]:
        """All cells."""
        axes = itertools.product(self.students, self.epochs, self.ways)
        return [Cell(student=s, epochs=e, way=way) for s, e, way in axes]


GRIDS = {
    "digits": Grid(
        source=Source(file="benchmarks/tables/digits-rates.toml"),
        assistant=12,
        students=(8, 4, 2),
        epochs=(5, 10, 20, 40),
        ways=(Way(loss="kd", temperature=1.0), Way(loss="kd"), Way(loss="dist")),
        rates=(0.1,),  # the best of three in the table digits-rates
        replicates=8,
    ),
    "parity": Grid(  # of two classes, for which dist means nothing
        source=Source(file="benchmarks/tables/parity.toml"),
        assistant=24,
        students=(12,),
        epochs=(5, 10),
        ways=(Way(loss="kd", temperature=1.0), Way(loss="kd")),
        rates=(0.01,),  # 0.03 is far worse
        replicates=10,
    ),
}


class GridRuns:
    """The trainings of a grid.

    Args:
        grid: The grid.
        trained: The trainings of its study.
    """

    def __init__(self, grid: Grid, trained: TrainedChains) -> None:
        self.grid, self.trained = grid, trained
        trained.train(self._assistants())
        trained.train(itertools.chain(*(own for _, own in self._students())))

    def _assistants(self) -> Iterator[Chain]:
        grid = self.grid
        for epochs, way, rate in itertools.product(grid.epochs, grid.ways, grid.rates):
            yield self._next(self._teacher, grid.assistant, epochs, way, rate)

    def _students(self) -> Iterator[tuple[tuple[Cell, str], list[Chain]]]:
        """The chains of each cell and way to its student, one for each rate."""
        for cell in self.grid.cells():
            ways = {
                DIRECT: (self._teacher, cell.epochs),
                TWICE: (self._teacher, 2 * cell.epochs),
                CHAIN: (self._assistant(cell), cell.epochs),
            }
            for name, (before, epochs) in ways.items():
                rates = self.grid.rates
                own = [self._next(before, cell.student, epochs, cell.way, rate) for rate in rates]
                yield (cell, name), own

    @cached_property
    def _teacher(self) -> Chain:
        return self.trained.teacher()

    def _assistant(self, cell: Cell) -> Chain:
        """The assistant of a cell, with the rate at which it is best itself."""
        own = [
            self._next(self._teacher, self.grid.assistant, cell.epochs, cell.way, rate)
            for rate in self.grid.rates
        ]
        return max(own, key=lambda chain: fmean(self.trained.accuracies(chain)))

    def _next(self, before: Chain, width: int, epochs: int, way: Way, rate: float) -> Chain:
        return self.trained.after(
            before,
            width,
            epochs=epochs,
            loss=way.loss,
            temperature=way.temperature,
            learning_rate=rate,
        )

    def values(self) -> dict[Cell, dict[str, list[float]]]:
        """Accuracy of each cell by way and replicate, in percent, at the rate others choose."""
        found: dict[Cell, dict[str, list[float]]] = {}
        for (cell, name), own in self._students():
            rated = [self.trained.accuracies(chain) for chain in own]
            found.setdefault(cell, {})[name] = chosen_by_others(rated)
        return found

    def teachers(self) -> dict[str, float]:
        """Accuracy of the teachers, in percent."""
        return interval(self.trained.accuracies(self._teacher))
