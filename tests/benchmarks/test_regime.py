"""The grid that looks for where assistants help."""

from __future__ import annotations

from statistics import fmean

import pytest

from benchmarks.paired import chosen_by_others
from benchmarks.regime import LESS_DIRECT, LESS_TWICE, by_level, correct, summarize
from benchmarks.regime_grids import CHAIN, DIRECT, GRIDS, TWICE, Cell, Grid, GridRuns, Way
from benchmarks.trained_chains import Source, TrainedChains
from tasearch.config.study_file import parse_study

STUDY = parse_study(
    {
        "data": {"validation": 0.2, "test": 0.7, "limit": 160},
        "teacher": {"width": 8, "epochs": 2},
        "assistants": {"max": 0, "widths": []},
        "student": {"widths": [3, 2], "loss": ["kd", "dist"]},
        "search": {"replicates": 3, "rungs": 1},
    }
)
WAYS = (Way(loss="kd", temperature=1.0), Way(loss="dist"))
GRID = Grid(
    source=Source(file=""),
    assistant=4,
    students=(3, 2),
    epochs=(1, 2),
    ways=WAYS,
    rates=(0.003, 0.03),
    replicates=3,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> GridRuns:
    trained = TrainedChains(STUDY, tmp_path_factory.mktemp("grid"), (8, 4, 3, 2))
    return GridRuns(GRID, trained)


def test_each_way_has_its_own_rate_chosen_by_other_replicates(runs: GridRuns) -> None:
    cell = Cell(student=2, epochs=2, way=WAYS[1])
    trained, teacher = runs.trained, runs.trained.teacher()

    def rated(before: tuple, width: int, epochs: int) -> list[tuple]:  # type: ignore[type-arg]
        rates = ({"learning_rate": rate, "epochs": epochs, "loss": "dist"} for rate in GRID.rates)
        return [trained.after(before, width, **own) for own in rates]

    def best(chains: list[tuple]) -> list[float]:  # type: ignore[type-arg]
        return chosen_by_others([trained.accuracies(chain) for chain in chains])

    assistant = max(rated(teacher, 4, 2), key=lambda chain: fmean(trained.accuracies(chain)))
    assert runs.values()[cell] == {
        DIRECT: best(rated(teacher, 2, 2)),
        TWICE: best(rated(teacher, 2, 4)),
        CHAIN: best(rated(assistant, 2, 2)),
    }


def test_every_cell_is_trained_in_every_way(runs: GridRuns) -> None:
    values = runs.values()
    assert {*values} == {*GRID.cells()}
    assert len(values) == 2 * 2 * 2
    assert all({*own} == {DIRECT, TWICE, CHAIN} for own in values.values())
    assert len({str(own) for own in values.values()}) > len(values) / 2  # not one for all


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_assistants_are_between_teacher_and_students(grid: Grid) -> None:
    study = grid.source.study(seed=1, replicates=grid.replicates)
    assert study.teacher.width > grid.assistant > max(grid.students)
    assert grid.replicates >= 8


def made_up(chain: float) -> dict[Cell, dict[str, list[float]]]:
    """Cells where the chain is by so much better than direct distillation, and 2 less than twice.

    With the student of width 3 it is as good as direct distillation.
    """
    noise = (-0.1, 0.0, 0.1)
    return {
        cell: {
            DIRECT: [80.0] * 3,
            TWICE: [82.0 + chain] * 3,
            CHAIN: [80.0 + (chain if cell.student == 2 else 0.0) + own for own in noise],
        }
        for cell in GRID.cells()
    }


def test_levels_are_means_over_their_cells() -> None:
    found = by_level(made_up(3.0))
    assert found["gap"]["student 2"][LESS_DIRECT]["mean"] == pytest.approx(3.0)
    assert found["gap"]["student 3"][LESS_DIRECT]["mean"] == pytest.approx(0.0)
    assert found["gap"]["student 2"][LESS_TWICE]["mean"] == pytest.approx(-2.0)
    assert found["epochs"]["1 epochs a hop"][LESS_DIRECT]["mean"] == pytest.approx(1.5)
    assert {*found["loss and temperature"]} == {"kd, temperature 1", "dist, temperature 4"}
    assert found["all"]["all cells"][LESS_DIRECT]["mean"] == pytest.approx(1.5)
    wide = found["all"]["all cells"][LESS_DIRECT]
    assert wide["high"] - wide["mean"] == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)


def test_gains_are_corrected_over_the_cells_of_all_grids() -> None:
    alone = {"a": summarize(made_up(0.5), 0.01)}
    counts = correct(alone)
    # t = 0.5 / (0.1 / sqrt(3)) = 8.66, p = 0.013: too large among eight cells
    assert counts[LESS_DIRECT] == {"compared": 8, "gains": 0, "losses": 0, "above": 4}
    row = alone["a"]["cells"][4]
    assert row["gap"] == "student 2"
    assert row[LESS_DIRECT]["corrected_p"] == pytest.approx(8 * row[LESS_DIRECT]["p"])
    both = {name: summarize(made_up(30.0), 0.01) for name in ("a", "b")}
    counts = correct(both)
    assert counts[LESS_DIRECT] == {"compared": 16, "gains": 8, "losses": 0, "above": 8}
    assert counts[LESS_TWICE]["losses"] == 16
