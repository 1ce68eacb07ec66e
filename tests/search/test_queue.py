"""Chains that others have queued in Optuna's study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import tasearch
from benchmarks.table import Table
from tasearch.chains.hop import ModelSpec
from tasearch.chains.keys import canonical_json
from tasearch.chains.space import Space
from tasearch.runs.events import Notice, SearchFinished, TrialStarted
from tasearch.runs.optuna_adapter import StudyStorage, id_of
from tasearch.search.chain_space import make_space
from tasearch.search.queue import complete_choices
from tasearch.search.trials import Trials
from tests.helpers.replay import Replay
from tests.helpers.runs import (
    contents,
    events_of,
    facts,
    interrupt_everywhere,
    optunas_study,
    proposed,
)
from tests.helpers.studies import BASELINES, PRUNES_OFTEN, SMALL, tiny

CHAIN = {"assistants": 2, "assistant_1": 12, "assistant_2": 8, "student": 4}
HOT = {**CHAIN, "student_temperature": 4.0}


@pytest.fixture(scope="module")
def space(finished: tasearch.Run) -> Space:
    """The chains of the small study."""
    study = tiny(**SMALL)
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    return make_space(study, teacher, finished.manifest.measured)


def tried(space: Space) -> dict[str, int]:
    """The choices of the first three trials of a search, with their numbers."""
    first = [space.choices(chain) for chain in space.baselines()[:3]]
    return {canonical_json(choices): number for number, choices in enumerate(first)}


def queue(run: tasearch.Run, *params: dict[str, Any], **attrs: Any) -> list[int]:
    study = optunas_study(run)
    for given in params:
        study.enqueue_trial(given, user_attrs=attrs)
    return [trial.number for trial in study.trials[-len(params) :]]


def test_search_tries_a_queued_chain_first(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES + 1)
    (number,) = queue(run, HOT)
    assert tasearch.Run.open(run.path).trials[number].state == "waiting"
    events: list[Any] = []
    run = rerun(study, trials=BASELINES + 3, on_event=events.append)
    trial = run.trials[number]
    assert (trial.state, trial.chain) == ("complete", (16, 12, 8, 4))
    assert trial.recipe["student"]["temperature"] == 4.0
    started = [e.number for e in events if isinstance(e, TrialStarted)]
    assert started[0] == number
    assert len(started) == 2
    assert events[-1] == SearchFinished(reason="6 trials are done", done=6)
    assert [t.number for t in run.trials] == [*range(len(run.trials))]
    found = optunas_study(run).trials[number]
    assert found.state == TrialState.COMPLETE
    assert found.params == HOT
    assert found.user_attrs["label"] == "16 → 12 → 8 → 4"


def test_queued_chain_waits_for_more_trials(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES)
    (number,) = queue(run, HOT)
    events: list[Any] = []
    run = rerun(study, trials=BASELINES, on_event=events.append)
    reason = "3 trials are done; 1 queued, for which more trials must be asked for"
    assert [e for e in events if not isinstance(e, Notice)] == [
        SearchFinished(reason=reason, done=BASELINES)
    ]
    assert run.trials[number].state == "waiting"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"student": 2, "assistants": 2}, {**CHAIN, "student": 2, "student_temperature": 2.0}),
        ({"student": 4.0, "assistant_1": 8, "assistant_2": 12, "assistants": 2}, CHAIN),
        ({**CHAIN, "assistants": 1}, {**CHAIN, "assistants": 1, "assistant_2": 0}),
        (
            {"assistants": 2, "assistant_1": 12, "assistant_2": 12, "student": 6},
            {"assistants": 1, "assistant_1": 12, "assistant_2": 0, "student": 6},
        ),
        ({"assistant_1": 6}, {"assistants": 1, "assistant_1": 6, "assistant_2": 0, "student": 4}),
        ({"student_temperature": 4}, {"student": 6, "assistants": 0, "student_temperature": 4.0}),
        ({}, {"student": 6, "assistants": 0, "student_temperature": 4.0}),
    ],
)
def test_complete_choices_adds_missing_parameters(
    space: Space, given: dict[str, Any], wanted: dict[str, Any]
) -> None:
    choices = complete_choices(space, given, tried(space))
    assert isinstance(choices, dict)
    assert {name: choices[name] for name in wanted} == wanted


NAMES = "assistants, assistant_1, assistant_2, student, student_temperature"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"student": 5}, "student should be one of 6, 4, 2, found 5"),
        ({"student": "4"}, 'student should be one of 6, 4, 2, found "4"'),
        ({"student": None}, "student should be one of 6, 4, 2, found null"),
        ({"student": [4]}, "student should be one of 6, 4, 2, found [4]"),
        ({"student": float("nan")}, "student should be one of 6, 4, 2, found NaN"),
        ({"student": 10**400}, f"student should be one of 6, 4, 2, found 1{'0' * 76}..."),
        ({"assistants": True}, "assistants should be one of 0, 1, 2, found true"),
        ({"assistants": 3}, "assistants should be one of 0, 1, 2, found 3"),
        ({"assistant_1": 16}, "assistant_1 should be one of 0, 12, 8, 6, found 16"),
        (
            {"student_temperature": 3.0},
            "student_temperature should be one of 2.0, 4.0, found 3.0",
        ),
        ({"width": 4}, f'"width" is no parameter of this study, which has {NAMES}'),
        ({"\x1b[2J": 4}, f'"\\u001b[2J" is no parameter of this study, which has {NAMES}'),
    ],
)
def test_complete_choices_refuses_parameters_outside_the_space(
    space: Space, given: dict[str, Any], reason: str
) -> None:
    assert complete_choices(space, given, {}) == reason


def test_search_completes_and_refuses_queued_trials(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES)
    missing, outside, known = queue(
        run,
        {"student": 2, "assistants": 2},
        {"student": 5},
        {"assistants": 0, "student": 4, "student_temperature": 2.0},
    )
    events: list[Any] = []
    run = rerun(study, trials=BASELINES + 1, on_event=events.append)
    assert run.trials[missing].state in ("complete", "pruned")
    params = optunas_study(run).trials[missing].params
    assert params == {**CHAIN, "student": 2, "student_temperature": 2.0}
    reasons = {
        outside: "student should be one of 6, 4, 2, found 5",
        known: "tried already as trial 1",
    }
    told = [e.message for e in events if isinstance(e, Notice)]
    for number, reason in reasons.items():
        assert f"queued trial {number} is not tried: {reason}" in told
        found = optunas_study(run).trials[number]
        assert (found.state, found.user_attrs["reason"]) == (TrialState.FAIL, reason)
        assert (run.trials[number].state, run.trials[number].reason) == ("refused", reason)
    assert len([t for t in proposed(run) if t.chain]) == BASELINES + 1
    again: list[Any] = []
    rerun(study, trials=BASELINES + 1, on_event=again.append)
    assert again == [SearchFinished(reason="4 trials are done", done=4)]


def test_search_refuses_a_queued_chain_without_assistants(rerun: Any) -> None:
    study = tiny(**{**SMALL, "assistants": {**SMALL["assistants"], "min": 1}})
    run = rerun(study, trials=1)
    (number,) = queue(run, {"assistants": 1, "assistant_1": 0, "student": 4})
    run = rerun(study, trials=2)
    assert run.trials[number].reason == (
        '{"assistants": 1, "assistant_1": 0, "student": 4} is no chain of this study: '
        "a chain has 1 assistants or more, wider than its student"
    )


def test_search_tries_a_chain_once_that_is_queued_twice(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES)
    first, second = queue(run, HOT, HOT)
    run = rerun(study, trials=BASELINES + 2)
    assert run.trials[first].state == "complete"
    assert run.trials[second].reason == f"tried already as trial {first}"


def test_search_survives_odd_queued_trials(rerun: Any) -> None:
    """Copies of tasearch's attributes, none at all, other kinds of parameters."""
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES + 2)
    shared, before = optunas_study(run), len(run.trials)
    shared.enqueue_trial(HOT, user_attrs=shared.trials[0].user_attrs)
    stale = {"free": True, "retry_of": 0, "retry_since": 1, "refused": 1, "proposal": before + 1}
    shared.enqueue_trial({**HOT, "student": 2}, user_attrs=stale)
    other = optuna.distributions.FloatDistribution(0.0, 9.0)
    params = {"student": 4.0}
    shared.add_trial(
        create_trial(state=TrialState.WAITING, params=params, distributions={"student": other})
    )
    shared.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": [1, 2]}))
    shared.add_trial(create_trial(state=TrialState.WAITING))
    run = rerun(study, trials=BASELINES + 6)
    found = run.trials[before : before + 5]
    assert [t.chain for t in found[:2]] == [(16, 12, 8, 4), (16, 12, 8, 2)]
    assert [t.state for t in found] == ["complete", "complete", "complete", "refused", "complete"]
    assert not any(t.free or t.retry_of for t in found)
    assert found[3].reason == "should name parameters, found [1, 2]"
    assert len([t for t in proposed(run) if t.chain]) == BASELINES + 6


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["ehvi", "tpe", "nsga2", "gp", "random", "brute"])
def test_workers_do_not_change_a_search_with_a_queue(rerun: Any, sampler: str) -> None:
    search = {
        **PRUNES_OFTEN,
        "max_concurrent": 3,
        "sampler": sampler,
    }
    study = tiny(**SMALL, search=search)
    found = []
    for workers in (1, 2):
        run = rerun(study, f"{workers}", trials=BASELINES + 1)
        queue(run, HOT, {"student": 5}, {**HOT, "student": 2}, HOT, {"assistants": 1})
        run = rerun(study, f"{workers}", trials=BASELINES + 7, workers=workers)
        found.append((facts(run), contents(run)))
    assert found[0] == found[1]
    assert len([t for t in proposed(run) if t.chain]) == BASELINES + 7


@pytest.mark.slow
def test_interruption_after_any_trial_leaves_the_queue(rerun: Any, tmp_path: Path) -> None:
    study = tiny(**SMALL, search={"max_concurrent": 3})

    def begun(folder: str) -> tasearch.Run:
        run = rerun(study, folder, trials=BASELINES + 1)
        queue(run, HOT, {"student": 5}, {**HOT, "student": 2}, HOT, {"assistants": 1})
        return run

    begun("again")
    straight = rerun(study, trials=BASELINES + 5)
    run = begun("cut")
    cuts = interrupt_everywhere(
        lambda: events_of(
            study, runs_dir=tmp_path / "cut", latency_from=straight.path, trials=BASELINES + 5
        )
    )
    assert cuts > 8
    assert facts(run) == facts(straight)
    assert contents(run) == contents(straight)


@pytest.mark.parametrize("action", [TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE])
def test_search_survives_queued_trial_taken_at_the_same_moment(
    digits: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: TrialState
) -> None:
    longer, played = Replay(digits, tmp_path / "longer"), Replay(digits, tmp_path / "run")
    baselines = len(digits.space(played.manifest).baselines())
    longer.go(baselines + 5, {})
    played.go(baselines - 3, {})
    study = played.optunas_study()
    tried = [t.params for t in study.trials]
    new = [t.params for t in longer.optunas_study().trials if t.params and t.params not in tried][
        -1
    ]
    study.enqueue_trial(new)
    number, was = study.trials[-1].number, Trials._set_parameters

    def meanwhile(self: Trials, trial_id: int, choices: Any) -> None:
        monkeypatch.setattr(Trials, "_set_parameters", was)
        if action != TrialState.FAIL:
            was(self, trial_id, choices)  # they come after the first line of ours
        there = played.optunas_study()
        values = (1.0, 1.0, 1.0) if action == TrialState.COMPLETE else None
        StudyStorage(there).set_state(id_of(there.trials[number]), action, values)
        if action == TrialState.FAIL:
            was(self, trial_id, choices)

    monkeypatch.setattr(Trials, "_set_parameters", meanwhile)
    played.go(baselines + 1, {})
    trials = played.trials()
    if action == TrialState.RUNNING:  # the search starts it all the same
        assert trials[number].state == "complete"
    else:
        assert trials[number].state == "foreign"
    assert sum(t.state in ("complete", "pruned") and not t.free for t in trials) == baselines + 1
