"""Chains that somebody has named to be tried next, and failed ones that are tried again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import tasearch
from benchmarks.replay import Lookup, Shelf, make_driver, restudied
from benchmarks.table import Table
from tasearch import RunError, StudyError
from tasearch.chains.hop import Hop
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import HopEnded, HopEvent, Notice, SearchFinished, TrialDone, TrialStarted
from tasearch.runs.journal import open_study, read_study, study_trials
from tasearch.runs.records import TrialRecord, states
from tasearch.runs.sealed_journal import SealedJournal
from tasearch.search.trials import Trials
from tasearch.train.trainer import Trainer
from tests.helpers.runs import contents, proposed
from tests.helpers.studies import tiny
from tests.search.test_shared_study import facts, study_of

SMALL: dict[str, Any] = {
    "teacher": {"epochs": 1},
    "assistants": {"max": 2, "widths": [12, 8, 6], "epochs": 1},
    "student": {"widths": [6, 4, 2], "epochs": 1, "temperature": [2.0, 4.0]},
}
CHAIN = {"assistants": 2, "assistant_1": 12, "assistant_2": 8, "student": 4}
HOT = {**CHAIN, "student_temperature": 4.0}


def queue(run: tasearch.Run, *params: dict[str, Any], **attrs: Any) -> list[int]:
    study = study_of(run)
    for given in params:
        study.enqueue_trial(given, user_attrs=attrs)
    return [trial.number for trial in study.trials[-len(params) :]]


def test_a_queued_chain_is_tried_before_what_the_sampler_proposes(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=4)
    (number,) = queue(run, HOT)
    assert tasearch.Run.open(run.path).trials[number].state == "waiting"
    events: list[Any] = []
    run = rerun(study, trials=6, on_event=events.append)
    trial = run.trials[number]
    assert (trial.state, trial.chain) == ("complete", (16, 12, 8, 4))
    assert trial.recipe["student"]["temperature"] == 4.0
    started = [e.number for e in events if isinstance(e, TrialStarted)]
    assert started[0] == number
    assert len(started) == 2
    assert events[-1] == SearchFinished(reason="6 trials are done", done=6)
    assert [t.number for t in run.trials] == [*range(len(run.trials))]
    found = study_of(run).trials[number]
    assert found.state == TrialState.COMPLETE
    assert found.params == HOT
    assert found.user_attrs["label"] == "16 → 12 → 8 → 4"


def test_a_queued_chain_waits_where_all_trials_are_done(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    (number,) = queue(run, HOT)
    events: list[Any] = []
    run = rerun(study, trials=3, on_event=events.append)
    reason = "3 trials are done; 1 queued, for which more trials must be asked for"
    assert events == [SearchFinished(reason=reason, done=3)]
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
def test_what_is_missing_is_filled_and_made_canonical(
    rerun: Any, given: dict[str, Any], wanted: dict[str, Any]
) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    (number,) = queue(run, given)
    run = rerun(study, trials=4)
    assert run.trials[number].state in ("complete", "pruned")
    params = study_of(run).trials[number].params
    assert {name: params[name] for name in wanted} == wanted


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
        (
            {"assistants": 0, "student": 4, "student_temperature": 2.0},
            "tried already as trial 1",
        ),
    ],
)
def test_what_is_not_of_the_space_fails_with_its_reason(
    rerun: Any, given: dict[str, Any], reason: str
) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    (number,) = queue(run, given)
    events: list[Any] = []
    run = rerun(study, trials=4, on_event=events.append)
    assert f"queued trial {number} is not tried: {reason}" in [
        e.message for e in events if isinstance(e, Notice)
    ]
    found = study_of(run).trials[number]
    assert (found.state, found.user_attrs["reason"]) == (TrialState.FAIL, reason)
    assert (run.trials[number].state, run.trials[number].reason) == ("refused", reason)
    assert len([t for t in proposed(run) if t.chain]) == 4
    again: list[Any] = []
    rerun(study, trials=4, on_event=again.append)
    assert again == [SearchFinished(reason="4 trials are done", done=4)]


def test_no_chain_of_the_space_is_told(rerun: Any) -> None:
    study = tiny(**{**SMALL, "assistants": {**SMALL["assistants"], "min": 1}})
    run = rerun(study, trials=1)
    (number,) = queue(run, {"assistants": 1, "assistant_1": 0, "student": 4})
    run = rerun(study, trials=2)
    assert run.trials[number].reason == (
        '{"assistants": 1, "assistant_1": 0, "student": 4} is no chain of this study: '
        "a chain has 1 assistants or more, wider than its student"
    )


def test_what_is_queued_twice_is_tried_once(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    first, second = queue(run, HOT, HOT)
    run = rerun(study, trials=5)
    assert run.trials[first].state == "complete"
    assert run.trials[second].reason == f"tried already as trial {first}"


def test_odd_queued_trials_end_no_run(rerun: Any) -> None:
    """Copies of tasearch's attributes, none at all, other kinds of parameters."""
    study = tiny(**SMALL)
    run = rerun(study, trials=5)
    shared, before = study_of(run), len(run.trials)
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
    run = rerun(study, trials=9)
    found = run.trials[before : before + 5]
    assert [t.chain for t in found[:2]] == [(16, 12, 8, 4), (16, 12, 8, 2)]
    assert [t.state for t in found] == ["complete", "complete", "complete", "refused", "complete"]
    assert not any(t.free or t.retry_of for t in found)
    assert found[3].reason == "should name parameters, found [1, 2]"
    assert len([t for t in proposed(run) if t.chain]) == 9


@pytest.mark.parametrize("sampler", ["ehvi", "tpe", "nsga2", "gp", "random", "brute"])
def test_a_queue_gives_the_same_study_whoever_trains(rerun: Any, sampler: str) -> None:
    search = {
        "max_concurrent": 3,
        "sampler": sampler,
        "gain_quantile": 0.0,
        "noise_margin": 0.0,
        "n_startup_trials": 1,
    }
    study = tiny(**SMALL, search=search)
    found = []
    for workers in (1, 2):
        run = rerun(study, f"{workers}", trials=4)
        queue(run, HOT, {"student": 5}, {**HOT, "student": 2}, HOT, {"assistants": 1})
        run = rerun(study, f"{workers}", trials=10, workers=workers)
        found.append((facts(run), contents(run)))
    assert found[0] == found[1]
    assert len([t for t in proposed(run) if t.chain]) == 10


def test_a_cut_after_any_trial_leaves_the_queue_as_it_was(rerun: Any, tmp_path: Path) -> None:
    study = tiny(**SMALL, search={"max_concurrent": 3})

    def begun(folder: str) -> tasearch.Run:
        run = rerun(study, folder, trials=4)
        queue(run, HOT, {"student": 5}, {**HOT, "student": 2}, HOT, {"assistants": 1})
        return run

    begun("again")
    straight = rerun(study, trials=8)
    run = begun("cut")
    seen: set[tuple[str, int]] = set()
    for cuts in range(99):  # noqa: B007
        events = tasearch.steps(
            study, runs_dir=tmp_path / "cut", latency_from=straight.path, trials=8
        )
        for event in events:
            if isinstance(event, TrialStarted | TrialDone):
                begins = isinstance(event, TrialStarted)
                moment = type(event).__name__, event.number if begins else event.record.number
                if moment not in seen:
                    seen.add(moment)
                    break
        else:
            break
        events.close()
    assert cuts > 8
    assert facts(run) == facts(straight)
    assert contents(run) == contents(straight)


# What failed is tried again


class Killed(BaseException):
    """Stands for the end of the process: no handler in tasearch catches it."""


class Faulty(Lookup):
    """An engine whose trainings of some hops fail, and one that counts them.

    Args:
        shelf: receives what would have been trained.
        workers: at once.
        faults: outcome of hops by their keys: "failed" or "out of memory".
    """

    def __init__(self, shelf: Shelf, workers: int, faults: dict[str, str]) -> None:
        super().__init__(shelf, workers)
        self.faults, self.ended = faults, Counter[str]()

    def events(self) -> Iterator[HopEvent]:
        for message in super().events():
            if isinstance(message, HopEnded):
                self.ended[message.key] += 1
                if message.key in self.faults:
                    self._shelf._records.pop(message.key)
                    outcome: Any = self.faults[message.key]
                    words = f"hop {message.key} {outcome}"
                    message = replace(message, outcome=outcome, reason=words)
            yield message


class Replay:
    """One run on a table, which may be cut off and goes on.

    Args:
        table: of all results.
        folder: of the run.
        search: keys of the search.
    """

    def __init__(self, table: Table, folder: Path, **search: Any) -> None:
        self.manifest = restudied(table, {"max_concurrent": 4, **search}, 0, {})
        self.shelf = Shelf(table, self.manifest.study.search.rungs)
        self.run = RunDirectory(folder)
        folder.mkdir()

    def go(
        self, trials: int, faults: dict[str, str], *, workers: int = 1, retry: bool = False
    ) -> tuple[list[Any], Counter[str]]:
        engine = Faulty(self.shelf, workers, faults)
        open_optuna = partial(open_study, self.run, "replay")
        driver = make_driver(self.manifest, self.shelf, engine, open_optuna, trials)
        driver.retry_failed = retry
        return [*driver.events()], engine.ended

    def trials(self) -> list[TrialRecord]:
        return study_trials(read_study(self.run, "replay"))

    def everything(self) -> list[Any]:
        study = read_study(self.run, "replay")
        assert study is not None
        return [(t.number, t.state, t.values, t.params, t.user_attrs) for t in study.trials]


@pytest.fixture(scope="module")
def digits() -> Table:
    return Table.load(Path(__file__).parents[2] / "benchmarks/tables/digits.json.gz")


@pytest.fixture(scope="module")
def hops(digits: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Keys of an assistant that several chains share, and of a baseline's student."""
    played = Replay(digits, tmp_path_factory.mktemp("whole") / "run")
    played.go(30, {})
    trials = proposed_of(played.trials())
    students = {t.hops[-1].key for t in trials}
    shared = Counter(use.key for t in trials for use in t.hops[1:-1] if use.key not in students)
    (assistant, count), *_ = shared.most_common(1)
    assert count > 2
    student = next(t.hops[-1].key for t in trials if not assistant.startswith(t.hops[-1].key))
    return assistant, student


def proposed_of(trials: list[TrialRecord]) -> list[TrialRecord]:
    return [t for t in trials if not t.free]


def test_what_failed_is_tried_again_on_request(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, student = hops
    played = Replay(digits, tmp_path / "run")
    _, ended = played.go(30, {assistant: "failed", student: "failed"})
    assert ended[assistant] == ended[student] == 1
    before = played.trials()
    failed = [t for t in before if t.state == "failed"]
    assert {t.cause for t in failed} == {"code"}
    assert len(failed) > 3
    assert any(t.free for t in failed)
    events, ended = played.go(30, {})
    assert not ended
    count = sum(not t.free for t in failed)
    assert events == [SearchFinished(reason=f"30 trials are done; {count} failed", done=30)]
    events, ended = played.go(30, {}, retry=True)
    assert ended[assistant] == ended[student] == 1
    assert events[-1] == SearchFinished(reason="30 trials are done", done=30)
    trials = played.trials()
    assert trials[: len(before)] == before
    assert states(before)["failed"] == states(trials)["retried"] == count
    assert not states(trials)["failed"]
    again = {t.retry_of: t for t in trials if t.retry_of is not None}
    assert {*again} == {t.number for t in failed if not t.free}
    for number, trial in again.items():
        assert trial.state in ("complete", "pruned")
        assert (trial.chain, trial.recipe) == (before[number].chain, before[number].recipe)
    (free,) = [t for t in trials[len(before) :] if t.free]
    assert (free.state, free.hops[-1].key) == ("complete", assistant)
    assert max(Counter(t.hops[-1].key for t in trials if t.state == "complete").values()) == 1
    assert not played.go(30, {}, retry=True)[1]
    assert played.trials() == trials
    more, _ = played.go(33, {})
    assert more[-1].done == 33
    chains = [(t.chain, str(t.recipe)) for t in proposed_of(played.trials()) if not t.retry_of]
    assert len({*chains}) == len(chains) == 33


def test_what_fails_again_stays_failed_until_the_next_request(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, _ = hops
    played = Replay(digits, tmp_path / "run")
    played.go(30, {assistant: "failed"})
    count = sum(t.state == "failed" and not t.free for t in played.trials())
    for times in (1, 2):
        events, ended = played.go(30, {assistant: "failed"}, retry=True)
        assert ended == {assistant: 1}
        assert events[-1].reason == f"30 trials are done; {count} failed"
        again = [t for t in played.trials() if t.retry_of is not None]
        assert len(again) == times * count
        assert len({t.retry_of for t in again}) == len(again)


def test_what_the_machine_failed_is_tried_again_by_the_next_run_and_once(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, student = hops
    played = Replay(digits, tmp_path / "run")
    faults = {assistant: "out of memory", student: "failed"}
    played.go(30, faults)
    failed = [t for t in proposed_of(played.trials()) if t.state == "failed"]
    assert {t.cause for t in failed} == {"machine", "code"}
    _, ended = played.go(30, faults)
    assert ended == {assistant: 1}
    _, ended = played.go(30, {})
    assert ended[assistant] == 1
    assert ended[student] == 0
    by_number = {t.number: t for t in played.trials()}
    assert {t.cause for t in by_number.values() if t.retry_of is not None} == {"machine", None}
    over = [t for t in by_number.values() if t.state == "failed" and t.cause == "code"]
    assert {f"{t.chain[-1]}" for t in over if len(t.chain) == 2} == {student[5:].split("r")[0]}


def test_retries_do_not_depend_on_workers_nor_on_the_moment_of_a_kill(
    digits: Table, hops: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any line that a run with retries and a queue writes to the journal."""
    assistant, student = hops
    before, after = {assistant: "failed", student: "out of memory"}, {student: "failed"}

    first = Replay(digits, tmp_path / "first")
    first.go(30, before)
    study = read_study(first.run, "replay")
    assert study is not None
    free = next(t.params for t in study.trials if t.user_attrs.get("free"))
    for given in ({}, {"assistants": 1}, free, {"assistants": 77}):
        study.enqueue_trial(given)

    def begun(folder: str) -> Replay:
        played = Replay(digits, tmp_path / folder)
        shutil.copytree(first.run.path, played.run.path, dirs_exist_ok=True)
        played.shelf._records = dict(first.shelf._records)
        return played

    lines = fatal = 0
    append = SealedJournal.append_logs

    def appending(self: SealedJournal, logs: list[dict[str, Any]]) -> None:
        nonlocal lines
        lines += 1
        if lines == fatal:
            raise Killed
        append(self, logs)

    straight = begun("straight")
    monkeypatch.setattr(SealedJournal, "append_logs", appending)
    straight.go(33, after, retry=True)
    total, expected = lines, straight.everything()
    assert total > 30
    assert any(t.retry_of is not None and t.state == "failed" for t in straight.trials())
    fatal = -1
    wide = begun("wide")
    wide.go(33, after, workers=3, retry=True)
    assert wide.everything() == expected
    for number in range(1, total + 1, max(1, total // 8)):
        fatal = -1
        played = begun(f"killed-{number}")
        lines, fatal = 0, number
        with pytest.raises(Killed):
            played.go(33, after, workers=1 + number % 3, retry=True)
        fatal = -1
        played.go(33, after, workers=1 + number % 2, retry=True)
        assert played.everything() == expected, number


def test_a_hop_that_runs_out_of_memory_says_so(rerun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study, begin = tiny(**SMALL), Trainer.begin

    def beginning(self: Trainer, hop: Hop, part: Any = ()) -> Any:
        if hop.model.width == 2:
            raise torch.OutOfMemoryError("no room")
        return begin(self, hop, part)

    monkeypatch.setattr(Trainer, "begin", beginning)
    run = rerun(study, trials=3)
    found = run.trials[2]
    assert (found.state, found.cause) == ("failed", "machine")
    assert found.reason == "hop 16 → 2: out of memory on cpu"
    monkeypatch.undo()
    run = rerun(study, trials=3)
    assert (run.trials[3].retry_of, run.trials[3].state) == (2, "complete")
    assert study_of(run).trials[2].user_attrs["cause"] == "machine"


# Named by `tasearch enqueue`


def test_a_chain_is_named_by_its_widths(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    first = tasearch.enqueue(run, "16-12-8-4", student={"temperature": 4.0})
    assert (first.number, first.label) == (3, "16 → 12 → 8 → 4")
    assert first.recipe == "student_temperature 4.0"
    for chain in ("12→8→2", (8, 4), [16, 6, 2]):
        assert tasearch.enqueue(run.path, chain).number > first.number
    run = rerun(study, trials=7)
    found = [t.chain for t in run.trials[3:7]]
    assert found == [(16, 12, 8, 4), (16, 12, 8, 2), (16, 8, 4), (16, 6, 2)]
    assert run.trials[3].recipe["student"]["temperature"] == 4.0


WRONG = 'chain: should be widths joined by "-", such as 16-8-4, found '


@pytest.mark.parametrize(
    ("chain", "fields", "message"),
    [
        ("", {}, WRONG + '""'),
        ("a-b", {}, WRONG + '"a-b"'),
        ("16--4", {}, WRONG + '"16--4"'),
        ("-4", {}, WRONG + '"-4"'),
        ("4.0", {}, WRONG + '"4.0"'),
        ("9" * 5000, {}, WRONG + '"' + "9" * 76 + "..."),
        ([True], {}, WRONG + "[true]"),
        ("16", {}, "chain: should end in a student, one of 6, 4, 2"),
        ("4-8", {}, "chain: widths should fall strictly, found 4 → 8"),
        ("16-12-8-6-2", {}, "chain: should have 0 to 2 assistants, found 3"),
        ("16-8-5", {}, "chain: the student should be one of 6, 4, 2, found 5"),
        ("16-9-4", {}, "chain: an assistant should be one of 12, 8, 6, found 9"),
        (
            "16-8-4",
            {"student": {"temperature": 3.0}},
            "student.temperature: should be one of 2.0, 4.0, found 3.0",
        ),
        (
            "16-8-4",
            {"student": {"alpha": 0.5}},
            "student.alpha: is not searched and always 0.9, found 0.5",
        ),
        (
            "16-8-4",
            {"assistants": {"heat": 1}},
            "assistants.heat: should be one of loss, temperature, alpha, guidance, learning_rate",
        ),
        (
            "16-4",
            {"assistants": {"temperature": 4.0}},
            'assistants: the chain has none, found {"temperature": 4.0}',
        ),
    ],
)
def test_a_chain_that_the_study_has_not_is_refused(
    finished_small: tasearch.Run, chain: Any, fields: dict[str, Any], message: str
) -> None:
    before = (finished_small.path / "journal.log").read_bytes()
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(finished_small, chain, **fields)
    assert str(error.value) == message
    assert (finished_small.path / "journal.log").read_bytes() == before


@pytest.fixture(scope="module")
def finished_small(
    finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory
) -> tasearch.Run:
    folder = tmp_path_factory.mktemp("small")
    return tasearch.run(tiny(**SMALL), runs_dir=folder, latency_from=finished.path, trials=3)


def test_a_chain_over_the_budget_is_refused(rerun: Any, finished: tasearch.Run) -> None:
    limit = finished.manifest.measured[4].params
    run = rerun(tiny(**SMALL, budget={"max_params": limit}), trials=1)
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "16-6")
    assert str(error.value) == (
        "chain: the student should be one of 4, 2, found 6, which is over the budget"
    )


def test_a_chain_that_depends_on_fewer_assistants_is_refused(rerun: Any) -> None:
    keys = {**SMALL, "student": {**SMALL["student"], "loss": ["kd", "ce"]}}
    run = rerun(tiny(**keys), trials=1)
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "16-8-4", student={"loss": "ce"})
    assert str(error.value) == (
        "chain: with these losses 8 → 4 depends on fewer assistants; "
        "name those that its student learns from"
    )
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "4", student={"loss": "ce", "temperature": 4.0})
    assert str(error.value) == "student.temperature: means nothing to this chain, found 4.0"
    assert tasearch.enqueue(run, "4", student={"loss": "ce"}).label == "4 (no teacher)"


def test_a_chain_that_was_tried_or_queued_is_refused(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "4")
    assert str(error.value) == f"{run.path}: this chain was tried already as trial 1 (complete)"
    queued = tasearch.enqueue(run, "12-4")
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "16-12-4")
    assert str(error.value) == (
        f"{run.path}: this chain is queued already as trial {queued.number}"
    )


def test_a_failed_chain_is_not_queued_but_tried_again(rerun: Any) -> None:
    study = tiny(student={"learning_rate": 1e30, "epochs": 1}, teacher={"epochs": 1})
    run = rerun(study, trials=1)
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "6")
    assert str(error.value) == (
        f"{run.path}: this chain was tried already as trial 0 (failed); "
        f"`tasearch run STUDY.toml --retry-failed` tries it again"
    )
    queue(run, {"student": 6, "assistants": 0})
    run = rerun(study, trials=2)
    assert run.trials[1].reason == (
        "tried already as trial 0, which failed; --retry-failed tries it again"
    )
    run = rerun(study, trials=2, retry_failed=True)
    assert [t.retry_of for t in run.trials if t.chain] == [None, None, 0, 2]


def test_a_chain_is_queued_while_the_run_goes_on(rerun: Any, tmp_path: Path) -> None:
    study = tiny(**SMALL, search={"max_concurrent": 1})
    straight = rerun(study, "straight", trials=1)
    events = tasearch.steps(
        study, runs_dir=tmp_path / "again", latency_from=straight.path, trials=5
    )
    queued = None
    for event in events:
        if isinstance(event, TrialDone) and queued is None:
            queued = tasearch.enqueue(tmp_path / "again" / "tiny", "12-8-2")
    assert queued is not None
    trial = tasearch.Run.open(tmp_path / "again" / "tiny").trials[queued.number]
    assert (trial.chain, trial.state) == ((16, 12, 8, 2), "complete")


def test_a_torn_line_is_mended_before_a_chain_is_queued(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    with (run.path / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":')
    queued = tasearch.enqueue(run, "12-4")
    assert rerun(study, trials=4).trials[queued.number].state == "complete"


def test_the_command_names_a_chain(finished_small: tasearch.Run) -> None:
    command = [sys.executable, "-m", "tasearch", "enqueue", str(finished_small.path)]
    words = [*command, "8-2", "--temperature", "4"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    number = len(tasearch.Run.open(finished_small.path).trials) - 1
    assert (
        done.stdout
        == f"trial {number} is queued: 16 → 8 → 2\n  recipe    student_temperature 4.0\n"
    )
    again = subprocess.run(words, capture_output=True, text=True)
    assert again.returncode == 2
    assert again.stderr == (
        f"error: {finished_small.path}: this chain is queued already as trial {number}\n"
    )
    nothing = subprocess.run(
        [*command[:-1], "nothing", "8-2", "--runs-dir", str(finished_small.path)],
        capture_output=True,
        text=True,
    )
    assert nothing.returncode == 2
    assert "nothing: no such run; `tasearch run STUDY.toml` makes one in" in nothing.stderr


# Others are at the same queue


def others(played: Replay) -> optuna.Study:
    backend = JournalFileBackend(str(played.run.journal))
    return optuna.load_study(study_name="replay", storage=JournalStorage(backend))


def test_a_retry_that_others_have_queued_by_half_is_a_chain_tried_already(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    played = Replay(digits, tmp_path / "run")
    played.go(6, {hops[1]: "failed"})
    (failed,) = (t for t in proposed_of(played.trials()) if t.state == "failed")
    study = others(played)
    params = study.trials[failed.number].params
    for attrs in ({}, {"retry_since": "1"}, {"retry_since": None}, {"retry_since": True}):
        study.enqueue_trial(params, user_attrs={"retry_of": failed.number, **attrs})
    played.go(8, {})
    assert [t.state for t in played.trials()].count("refused") == 4
    straight = Replay(digits, tmp_path / "straight")
    straight.go(6, {hops[1]: "failed"})
    straight.go(8, {})
    mine = [vars(t) for t in played.trials() if t.state != "refused"]
    theirs = [vars(t) for t in straight.trials()]
    assert [{**t, "number": 0} for t in mine] == [{**t, "number": 0} for t in theirs]


@pytest.mark.parametrize("deed", [TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE])
def test_a_queued_trial_that_others_take_in_the_same_moment_is_theirs(
    digits: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: TrialState
) -> None:
    longer, played = Replay(digits, tmp_path / "longer"), Replay(digits, tmp_path / "run")
    longer.go(12, {})
    played.go(4, {})
    study = others(played)
    tried = [t.params for t in study.trials]
    new = [t.params for t in others(longer).trials if t.params and t.params not in tried][-1]
    study.enqueue_trial(new)
    number, was = study.trials[-1].number, Trials._set_parameters

    def meanwhile(self: Trials, trial_id: int, choices: Any) -> None:
        monkeypatch.setattr(Trials, "_set_parameters", was)
        if deed != TrialState.FAIL:
            was(self, trial_id, choices)  # they come after the first line of ours
        there = others(played)
        values = (1.0, 1.0, 1.0) if deed == TrialState.COMPLETE else None
        there._storage.set_trial_state_values(there.trials[number]._trial_id, deed, values)
        if deed == TrialState.FAIL:
            was(self, trial_id, choices)

    monkeypatch.setattr(Trials, "_set_parameters", meanwhile)
    played.go(8, {})
    found = played.trials()
    if deed == TrialState.RUNNING:  # it is taken up all the same
        assert found[number].state == "complete"
    else:
        assert found[number].state == "foreign"
    assert sum(t.state in ("complete", "pruned") and not t.free for t in found) == 8
