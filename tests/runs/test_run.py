"""What a run gives of its trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tasearch
from tasearch.errors import NothingFits, RunError
from tasearch.runs.verdict_file import FILE, REMEDY, write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan


def changed(run: tasearch.Run, number: int, state: str, reason: str | None) -> tasearch.Run:
    """The same run, one of whose trials has ended otherwise."""
    found = tasearch.Run(run.directory)
    found.trials[number] = replace(found.trials[number], state=state, reason=reason)
    return found


def test_every_complete_trial_has_a_candidate(finished: tasearch.Run) -> None:
    for known in finished.front.candidates:
        assert finished.candidate(known.trial) == known


def test_best_is_of_any_trial_that_is_named(finished: tasearch.Run) -> None:
    for known in finished.front.candidates:
        assert finished.best(trial=known.trial) == known
    with pytest.raises(NothingFits, match="has no trial 999"):
        finished.best(trial=999)
    with pytest.raises(RunError) as error:
        finished.best(trial=0, max_params=9)
    assert str(error.value) == "trial: goes without a budget; leave one of the two out"


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


def test_damaged_verdicts_are_left_out_and_told(finished: tasearch.Run, copy: Path) -> None:
    assert tasearch.Run.open(copy).verdicts_damage == ""
    (copy / FILE).parent.mkdir()
    (copy / FILE).write_text("{}")
    run = tasearch.Run.open(copy)
    assert run.best() == finished.best()
    assert run.confirmations == []
    assert run.verdicts_damage.startswith(f"{copy / FILE}: bears no seal: ")
    assert run.verdicts_damage.endswith(REMEDY)


def test_confirmed_student_counts_by_its_fresh_seeds(finished: tasearch.Run, copy: Path) -> None:
    known, other = finished.front.candidates[:2]
    new, old = (arm_of(known, accuracy) for accuracy in (0.25, 0.125))
    rest = arm_of(other, 0.5)
    comparison = Comparison(question="assistants", first=old, second=rest)
    past = Confirmation(plan=LookPlan(), comparisons=(comparison,), finished=True)
    now = replace(past, comparisons=(replace(comparison, first=new),))
    write_confirmations(copy, [past, now, replace(past, finished=False)])
    run = tasearch.Run.open(copy)
    assert run.confirmed(known) == (now, new)
    assert run.confirmation_of(known) == now
    assert run.known_accuracy(known) == 0.25
    assert run.confirmed(finished.front.candidates[-1]) is None
    assert run.known_accuracy(finished.front.candidates[-1]) == (
        finished.front.candidates[-1].accuracy
    )


def test_confirmed_student_is_compared_with_confirmed_ones(
    finished: tasearch.Run, copy: Path
) -> None:
    first, second, *_ = finished.choices

    def best(*tested: tuple[tasearch.Candidate, float]) -> tasearch.Candidate:
        """The student to ship after confirmations of some of them."""
        found = []
        for candidate, accuracy in tested:
            arms = arm_of(candidate, accuracy), arm_of(candidate, accuracy)
            comparison = Comparison(question="assistants", first=arms[0], second=arms[1])
            found.append(Confirmation(plan=LookPlan(), comparisons=(comparison,), finished=True))
        write_confirmations(copy, found)
        run = tasearch.Run.open(copy)
        assert [c.trial for c in run.choices] == [c.trial for c in finished.choices]
        return run.best()

    assert best() == first
    assert best((first, 0.25)) == first  # the other one's accuracy is optimistic
    assert best((second, 0.99)) == first  # and so is this one's
    assert best((first, 0.25), (second, 0.5)) == second
    assert best((first, 0.5), (second, 0.25)) == first


def arm_of(candidate: tasearch.Candidate, accuracy: float) -> Arm:
    """What a candidate's chain has reached on two fresh seeds."""
    return Arm(chain=candidate.chain, recipe=candidate.recipe, accuracies=(accuracy, accuracy))
