"""Trials that learn from earlier epochs, in a study that does not try that any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.config.study import Study
from tasearch.runs.events import HopStarted
from tests.helpers.runs import events_of
from tests.helpers.studies import tiny

REMOVED: dict[str, dict[str, Any]] = {
    "the epoch": {"student": {"teacher_epoch": 1.0}},
    "the assistants' recipe": {"assistants": {"temperature": 3.0}},
}


def study_of(**sections: Any) -> Study:
    """A study of one student, with an assistant, and the whole teacher or an earlier epoch."""
    keys: dict[str, dict[str, Any]] = {
        "teacher": {"epochs": 4},
        "assistants": {"max": 1, "widths": [8], "epochs": 2},
        "student": {"widths": [4], "epochs": 4, "teacher_epoch": [0.5, 1.0]},
        "search": {"trials": 6, "pruner": "none"},
    }
    return tiny(**{name: {**own, **sections.get(name, {})} for name, own in keys.items()})


@pytest.fixture
def cut(tmp_path: Path, finished: tasearch.Run) -> tasearch.Run:
    """A run that was interrupted when its assistant began."""
    events = events_of(study_of(), runs_dir=tmp_path, latency_from=finished.path)
    for event in events:
        if isinstance(event, HopStarted) and event.label == "16 → 8":
            break
    events.close()
    return tasearch.Run.open(tmp_path / "tiny")


@pytest.mark.parametrize("removed", REMOVED)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupted_trial_learns_from_an_earlier_epoch_after_an_option_was_removed(
    cut: tasearch.Run, removed: str, workers: int, finished: tasearch.Run, tmp_path: Path
) -> None:
    begun = [t.number for t in cut.trials if t.state == "running" and t.chain == (16, 8, 4)]
    assert begun
    run = tasearch.run(study_of(**REMOVED[removed]), runs_dir=tmp_path, workers=workers)
    straight = tasearch.run(study_of(), runs_dir=tmp_path / "straight", latency_from=finished.path)
    for number in begun:
        assert vars(run.trials[number]) == vars(straight.trials[number])


def test_lost_student_of_a_removed_option_is_trained_again(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    before = tasearch.run(study_of(), runs_dir=tmp_path, latency_from=finished.path)
    early = next(
        t for t in before.trials if t.chain == (16, 8, 4) and "teacher_epoch" in t.recipe["student"]
    )
    files = [before.path / "hops" / f"{early.hops[-1].key}.safetensors"]
    files += (before.path / "snapshots").glob(f"{early.hops[1].key}-*")
    assert len(files) == 2
    blobs = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    tasearch.run(study_of(**REMOVED["the epoch"]), runs_dir=tmp_path)
    assert [file.read_bytes() for file in files] == blobs


@pytest.mark.slow
def test_confirmation_trains_a_chain_of_a_removed_option(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    options = {"student": {"teacher_epoch": 0.5}, "search": {"trials": 3}}
    before = tasearch.run(study_of(**options), runs_dir=tmp_path, latency_from=finished.path)
    assert (16, 8, 4) in [trial.chain for trial in before.trials]
    run = tasearch.run(study_of(**options | REMOVED["the assistants' recipe"]), runs_dir=tmp_path)
    found = tasearch.confirm(run.path, max_params=run.manifest.measured[4].params)
    assert found.finished
    assert not any(c.faults for c in found.comparisons)
