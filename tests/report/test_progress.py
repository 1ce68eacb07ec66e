"""The time left of a run, from its event log and from its events."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

import tasearch
from tasearch.report.progress import Progress, logged_time_left
from tasearch.report.time_left import DRIFT
from tests.helpers.search_states import events_again, search_state
from tests.helpers.studies import tiny


def test_log_tells_no_less_time_for_more_trials(finished: tasearch.Run) -> None:
    assert logged_time_left(finished, 0, now=0.0) == (0.0, 0.0)
    known = [logged_time_left(finished, trials, now=0.0) for trials in range(1, 20)]
    assert all(found is not None and 0 <= found[0] <= found[1] for found in known)
    for fewer, more in itertools.pairwise(known):
        assert fewer is not None and more is not None
        assert fewer[0] <= more[0] and fewer[1] <= more[1]


def test_teacher_alone_tells_a_time(finished: tasearch.Run) -> None:
    """Half of it by one of two workers: the other half, and all trials, are still to come."""
    found = []
    for workers in (1, 2):
        progress = Progress(finished.manifest, workers=workers)
        progress.start("teacher", "16", 0)
        assert progress.left(2.0, 10) is None
        progress.reach("teacher", 2, 3.0)
        found.append(progress.left(4.0, 10))
    (low, high), (lower, same) = (f or (0.0, 0.0) for f in found)
    assert (lower, same) == (low / 2, high)
    assert low > 0


def test_hours_of_the_study_limit_the_time(finished: tasearch.Run) -> None:
    manifest = finished.manifest
    search = manifest.study.search.model_copy(update={"max_hours": 0.5})
    study = manifest.study.model_copy(update={"search": search})
    changed = {**vars(manifest), "study": study}
    progress = Progress(type(manifest)(**changed), spent=1700.0)
    progress.start("teacher", "16", 0)
    progress.reach("teacher", 1, 90.0)
    assert progress.left(90.0, 10) == (10.0, 10.0)


def test_trials_of_earlier_searches_are_not_paid_again(finished: tasearch.Run) -> None:
    progress = Progress(finished.manifest, finished.trials, teacher=True)
    progress.start("a", "16 → 2", 0)
    progress.reach("a", 4, 1.0)
    assert progress.left(1.0, 0) == (0.0, 0.0)


def test_search_ends_with_no_time_left(finished: tasearch.Run) -> None:
    state = search_state(finished)
    for event in events_again(finished):
        state.take(event)
    assert state.left == "0 s left"
    assert state.done == 10


def test_baselines_are_known_exactly(finished: tasearch.Run) -> None:
    """Each epoch takes a second on one of two workers, of whatever width."""
    study = tiny(search={"sampler": "random"})
    progress = Progress(replace(finished.manifest, study=study))
    for key, label in (("teacher", "16"), ("a", "16 → 6")):
        progress.start(key, label, 0)
        progress.reach(key, 3, 3.0)
    found = progress.left(3.0, 3)
    epochs = 3 * 4 - 3  # three students, and three epochs are done
    assert found == pytest.approx(((1 - DRIFT) * epochs / 2, (1 + DRIFT) * epochs / 2))
