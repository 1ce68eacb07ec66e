"""The questions of the benchmark, and how they are answered."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from benchmarks import chain_runs
from benchmarks.better_chains import (
    CASES,
    DIRECT,
    INHERITED,
    RANDOM,
    TWICE,
    Side,
    chosen,
    correct,
    questions,
    rates,
    summarize,
)
from benchmarks.chain_runs import CHOOSING, REPORTED, Case, Length, Runs
from benchmarks.stacked_hops import FROM_LABELS, Method
from tasearch.config.study_file import parse_study

STUDY = parse_study(
    {
        "data": {"validation": 0.2, "test": 0.7, "limit": 160},
        "teacher": {"width": 8, "epochs": 2},
        "assistants": {"max": 0, "widths": []},
        "student": {"widths": [3, 2]},
    }
)
LENGTH = Length(epochs=1, chosen_at=1)
CASE = Case(
    study="",
    losses=("dist",),
    assistants=(4,),
    students=(3, 2),
    lengths=(LENGTH,),
    replicates=(3, 2),
)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(CASE, STUDY, tmp_path / "case.json", {})


class MadeUp(Runs):
    """Runs whose accuracies are computed from the method, and which tell what they were asked."""

    def __init__(self, file: Path) -> None:
        super().__init__(CASE, STUDY, file, {})
        self.asked: list[tuple[str, tuple[int, ...], int]] = []

    def accuracies(
        self, replicates: str, chain: tuple[int, ...], method: Method, epochs: int
    ) -> list[float]:
        self.asked.append((replicates, chain, epochs))
        value = 50 + 10 * (method.rate == (0.3 if method.inherits else 1.0))
        value += 5 * (method.weight in (10.0, 100.0)) - 3 * (method.weight in (1.0, 1000.0))
        return [value, value + len(chain)]


def test_method_is_chosen_by_replicates_that_are_not_reported(tmp_path: Path) -> None:
    made_up = MadeUp(tmp_path / "case.json")
    found = chosen(made_up, "dist", Length(epochs=40, chosen_at=10))
    assert {*made_up.asked} == {(CHOOSING, (8, width), 10) for width in (3, 2)}
    assert (found[RANDOM].rate, found[INHERITED].rate) == (1.0, 0.3)
    for name, method in found.items():
        assert method.inherits == name.startswith(INHERITED)
        assert method.rate == found[INHERITED if method.inherits else RANDOM].rate
        assert method.weight == {"attention": 10.0, "projected": 100.0, None: 0.0}[method.feature]
    assert not {*CASE.numbers(CHOOSING)} & {*CASE.numbers(REPORTED)}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_chains_are_compared_with_as_many_epochs_of_the_line(case: Case) -> None:
    for length in case.lengths:
        pairs = [*questions(case, length)]
        assert len({*pairs}) == len(pairs)
        for assistant in case.assistants:
            for method in (RANDOM, INHERITED):
                chain = Side(method=method, place=assistant)
                for place in (DIRECT, TWICE):
                    assert (chain, Side(method=method, place=place)) in pairs
        for one, other in pairs:
            assert (one.method == other.method) != (one.place == other.place)  # one thing differs


def test_correction_counts_questions_of_all_parts() -> None:
    rows = [{"mean": mean, "p": p} for mean, p in ((2.0, 0.02), (-1.0, 0.001), (0.1, 0.8))]
    parts = {"a": {"differences": rows[:1]}, "b": {"differences": rows[1:]}}
    assert correct(parts) == {"compared": 3, "gains": 1, "losses": 1}
    assert [row["corrected_p"] for row in rows] == pytest.approx([0.04, 0.003, 0.8])
    assert correct({"a": {"differences": [*rows, {"mean": 1.0, "p": 0.9}]}})["gains"] == 0


def test_study_goes_on_where_it_stopped(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = summarize(runs, CASE.losses, CASE.lengths)
    again = Runs(CASE, STUDY, tmp_path / "case.json", {})
    for name in [*again.content["accuracies"]][5::7]:
        del again.content["accuracies"][name]  # as if it had been stopped
    missing = len({*runs.content["accuracies"]} - {*again.content["accuracies"]})
    trained = []
    monkeypatch.setattr(chain_runs, "print", lambda name, _, **__: trained.append(name), False)
    assert summarize(again, CASE.losses, CASE.lengths)["parts"] == whole["parts"]
    assert len(trained) == missing > 5


def test_differences_are_means_over_students_of_pairs(runs: Runs) -> None:
    found = summarize(runs, CASE.losses, CASE.lengths)["parts"]["dist, 1 epochs"]
    methods = chosen(runs, "dist", LENGTH)
    row = next(
        row
        for row in found["differences"]
        if (row["of"], row["less"])
        == ("inherited, behind 4", "inherited, direct, twice the epochs")
    )
    by_student = {}
    for width in CASE.students:
        chain = runs.accuracies(REPORTED, (8, 4, width), methods[INHERITED], 1)
        twice = runs.accuracies(REPORTED, (8, width), methods[INHERITED], 2)
        by_student[width] = fmean(chain) - fmean(twice)
        assert row["students"][str(width)]["mean"] == pytest.approx(by_student[width])
    assert row["mean"] == pytest.approx(fmean(by_student.values()))
    assert row["low"] < row["mean"] < row["high"]


def test_student_behind_an_assistant_is_another_training(runs: Runs, tmp_path: Path) -> None:
    method = Method(loss="dist")
    behind = runs.accuracies(REPORTED, (8, 4, 3), method, 2)
    assert behind != runs.accuracies(REPORTED, (8, 3), method, 2)
    assert runs.teachers(REPORTED) == runs.accuracies(REPORTED, (8,), FROM_LABELS, 2)
    again = Runs(CASE, STUDY, tmp_path / "other.json", {})
    assert behind == again.accuracies(REPORTED, (8, 4, 3), method, 2)


def test_rates_are_compared_by_replicates_that_choose(tmp_path: Path) -> None:
    made_up = MadeUp(tmp_path / "case.json")
    found = rates(made_up, "dist", LENGTH)
    assert {replicates for replicates, _, _ in made_up.asked} == {CHOOSING}
    assert {*found} == {"0.3", "1", "3", "10"}
    assert found["0.3"]["random less the study's rate"]["mean"] == -10
    assert found["0.3"]["inherited less random"]["mean"] == 10
    assert found["1"]["inherited less random"]["mean"] == -10
    assert found["3"]["inherited less random"]["mean"] == 0
