"""What a run gives of its trials."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tasearch
from tasearch.errors import NothingFits


def changed(run: tasearch.Run, number: int, state: str, reason: str | None) -> tasearch.Run:
    """The same run, one of whose trials has ended otherwise."""
    found = tasearch.Run(run.directory)
    found.trials[number] = replace(found.trials[number], state=state, reason=reason)
    return found


def test_every_complete_trial_has_a_candidate(finished: tasearch.Run) -> None:
    for known in finished.front.candidates:
        assert finished.candidate(known.trial) == known


@pytest.mark.parametrize("trial", [-1, 10_000, True, "1", 1.0])
def test_unknown_trial_is_refused(finished: tasearch.Run, trial: object) -> None:
    with pytest.raises(NothingFits) as error:
        finished.candidate(trial)  # type: ignore[arg-type]
    last = len(finished.trials) - 1
    assert (
        str(error.value) == f"{finished.path}: has no trial {trial!r}; its trials are 0 to {last}"
    )


def test_run_without_trials_says_so(finished: tasearch.Run) -> None:
    empty = tasearch.Run(finished.directory)
    empty.trials = []
    with pytest.raises(NothingFits, match=r"has no trial 0; it has none yet$"):
        empty.candidate(0)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("pruned", "could reach 50%", "was pruned (could reach 50%)"),
        ("failed", "no luck", "has failed (no luck)"),
        ("running", None, "was begun and has not ended"),
        ("waiting", None, "waits in the queue"),
        ("refused", "too wide", "was refused (too wide)"),
        ("foreign", None, "was added by another program"),
    ],
)
def test_unfinished_trial_is_refused_with_its_reason(
    finished: tasearch.Run, state: str, reason: str | None, words: str
) -> None:
    number = finished.front.candidates[-1].trial
    best = finished.front.candidates[0].trial
    with pytest.raises(NothingFits) as error:
        changed(finished, number, state, reason).candidate(number)
    assert str(error.value) == (
        f"{finished.path}: trial {number} is no finished student: it {words}; "
        f"name a trial that is complete, such as {best}"
    )
