"""Chains of any recipes, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

import tasearch
from benchmarks.trained_chains import ALONE, STACKED, Source, TrainedChains
from tasearch.config.study_file import parse_study

WIDTHS = (40, 4, 3)
STUDY = parse_study(
    {
        "data": {"validation": 0.2, "test": 0.7, "limit": 160},
        "teacher": {"width": 40, "epochs": 2},
        "assistants": {"max": 1, "widths": [4], "epochs": 2},
        "student": {"widths": [3], "epochs": 3, "loss": ["kd", "ce"]},
        "training": {"modes": {"40": str(ALONE), "4": str(STACKED), "3": str(STACKED)}},
        "search": {"replicates": 2, "rungs": 1, "trials": 10, "pruner": "none"},
    }
)


@pytest.fixture
def trained(tmp_path: Path) -> TrainedChains:
    return TrainedChains(STUDY, tmp_path, WIDTHS)


def test_accuracies_are_those_of_a_run(trained: TrainedChains, tmp_path: Path) -> None:
    run = tasearch.run(STUDY, runs_dir=tmp_path / "runs", device="cpu")
    found = {}
    for trial in run.trials:
        assert trial.recipe is not None
        found[trial.chain, trial.recipe["student"]["loss"]] = trial.accuracies
    teacher = trained.teacher()
    assistant = trained.after(teacher, 4, epochs=2)
    chains = {
        ((40, 3), "kd"): trained.after(teacher, 3),
        ((40, 4, 3), "kd"): trained.after(assistant, 3),
        ((40, 3), "ce"): trained.after(teacher, 3, loss="ce"),
    }
    trained.train(chains.values())
    for name, chain in chains.items():
        assert trained.accuracies(chain) == tuple(100 * a for a in found[name])


def test_model_that_learns_from_labels_has_no_ancestors(trained: TrainedChains) -> None:
    (alone,) = trained.after(trained.teacher(), 3, loss="ce", learning_rate=0.5)
    assert (alone.width, alone.recipe) == (3, trained.recipe(loss="ce", learning_rate=0.5))


def test_trainings_are_made_once(
    trained: TrainedChains, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained.after(trained.teacher(), 3)
    trained.train([first])
    assert "40 → 3" in capsys.readouterr().out
    again = TrainedChains(STUDY, tmp_path, WIDTHS)
    other = again.after(again.teacher(), 3, temperature=1.0)
    again.train([first, other])
    assert capsys.readouterr().out.count(" epochs:") == 1
    assert again.accuracies(first) == trained.accuracies(first)
    assert again.accuracies(first) != again.accuracies(other)


def test_source_changes_seed_and_replicates_alone() -> None:
    source = Source(file="benchmarks/tables/digits-rates.toml")
    study = source.study(seed=7, replicates=3)
    assert (study.seed, study.search.replicates, study.search.rungs) == (7, 3, 1)
    assert study.student == source.study(seed=1, replicates=1).student
    mnist = Source(file="benchmarks/tables/mnist-rates.toml", data="mnist")
    assert mnist.study(seed=1, replicates=1).data.path.endswith("shared/data/mnist")  # type: ignore[union-attr]
