"""Failed trials that are tried again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.runs.events import HopOutcome, SearchFinished
from tasearch.runs.records import states
from tasearch.runs.sealed_journal import SealedJournal
from tasearch.train.trainer import Trainer
from tests.helpers.replay import Replay
from tests.helpers.runs import optunas_study
from tests.helpers.studies import SMALL, tiny

TRIALS = 47  # of a search on the table: 14 baselines, and chains that share assistants


class Killed(BaseException):
    """Stands for the end of the process: no handler in tasearch catches it."""


@pytest.fixture(scope="module")
def hops(digits: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Keys of an assistant that several chains share, and of a baseline's student."""

    def uses(faults: dict[str, HopOutcome]) -> Counter[str]:
        """How many trials use each assistant that is no student, where some hops fail."""
        played = Replay(digits, tmp_path_factory.mktemp("whole") / "run")
        played.go(TRIALS, faults)
        trials = played.proposed()
        students.update(dict.fromkeys(t.hops[-1].key for t in trials if len(t.chain) == 2))
        taken = {t.hops[-1].key for t in trials}
        return Counter(use.key for t in trials for use in t.hops[1:-1] if use.key not in taken)

    students: dict[str, None] = {}
    (assistant, count), *_ = uses({}).most_common(1)
    assert count > 2
    # a student that fails changes what is proposed: find one without which the assistant is tried
    student = next(key for key in [*students] if uses({key: "failed"})[assistant])
    return assistant, student


@pytest.mark.slow
def test_search_repeats_failed_trials_on_request(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, student = hops
    played = Replay(digits, tmp_path / "run")
    _, ended = played.go(TRIALS, {assistant: "failed", student: "failed"})
    assert ended[assistant] == ended[student] == 1
    before = played.trials()
    failed = [t for t in before if t.state == "failed"]
    assert {t.cause for t in failed} == {"code"}
    assert len(failed) > 3
    assert any(t.free for t in failed)
    events, ended = played.go(TRIALS, {})
    assert not ended
    count = sum(not t.free for t in failed)
    assert events == [
        SearchFinished(reason=f"{TRIALS} trials are done; {count} failed", done=TRIALS)
    ]
    events, ended = played.go(TRIALS, {}, retry=True)
    assert ended[assistant] == ended[student] == 1
    assert events[-1] == SearchFinished(reason=f"{TRIALS} trials are done", done=TRIALS)
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
    assert not played.go(TRIALS, {}, retry=True)[1]
    assert played.trials() == trials
    more, _ = played.go(TRIALS + 3, {})
    assert more[-1].done == TRIALS + 3
    chains = [(t.chain, str(t.recipe)) for t in played.proposed() if t.retry_of is None]
    assert len({*chains}) == len(chains) == TRIALS + 3


def test_search_repeats_a_repeated_failure_only_on_request(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, _ = hops
    played = Replay(digits, tmp_path / "run")
    played.go(TRIALS, {assistant: "failed"})
    count = sum(t.state == "failed" and not t.free for t in played.trials())
    for times in (1, 2):
        events, ended = played.go(TRIALS, {assistant: "failed"}, retry=True)
        assert ended == {assistant: 1}
        assert events[-1].reason == f"{TRIALS} trials are done; {count} failed"
        again = [t for t in played.trials() if t.retry_of is not None]
        assert len(again) == times * count
        assert len({t.retry_of for t in again}) == len(again)


def test_search_repeats_failures_of_the_machine_by_itself(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    assistant, student = hops
    played = Replay(digits, tmp_path / "run")
    faults = {assistant: "out of memory", student: "failed"}
    played.go(TRIALS, faults)
    failed = [t for t in played.proposed() if t.state == "failed"]
    assert {t.cause for t in failed} == {"machine", "code"}
    _, ended = played.go(TRIALS, faults)
    assert ended == {assistant: 1}
    _, ended = played.go(TRIALS, {})
    assert ended[assistant] == 1
    assert ended[student] == 0
    by_number = {t.number: t for t in played.trials()}
    assert {t.cause for t in by_number.values() if t.retry_of is not None} == {"machine", None}
    over = [t for t in by_number.values() if t.state == "failed" and t.cause == "code"]
    assert {f"{t.chain[-1]}" for t in over if len(t.chain) == 2} == {student[5:].split("r")[0]}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 12])
def test_kill_at_any_line_changes_neither_retries_nor_queue(
    digits: Table,
    hops: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
) -> None:
    """Killed before any line that a search with retries and a queue writes to the journal."""
    assistant, student = hops
    before, after = {assistant: "failed", student: "out of memory"}, {student: "failed"}

    first = Replay(digits, tmp_path / "first")
    first.go(TRIALS, before)
    study = first.optunas_study()
    free = next(t.params for t in study.trials if t.user_attrs.get("free"))
    for given in ({}, {"assistants": 1}, free, {"assistants": 77}):
        study.enqueue_trial(given)

    lines = fatal = 0
    append = SealedJournal.append_logs

    def appending(self: SealedJournal, logs: list[dict[str, Any]]) -> None:
        nonlocal lines
        lines += 1
        if lines == fatal:
            raise Killed
        append(self, logs)

    straight = first.copy(tmp_path / "straight")
    monkeypatch.setattr(SealedJournal, "append_logs", appending)
    straight.go(TRIALS + 3, after, retry=True)
    total, expected = lines, straight.everything()
    assert total > 30
    assert any(t.retry_of is not None and t.state == "failed" for t in straight.trials())
    fatal = -1
    wide = first.copy(tmp_path / "wide")
    wide.go(TRIALS + 3, after, workers=3, retry=True)
    assert wide.everything() == expected
    for number in range(total // (2 * kills), total + 1, total // kills):
        fatal = -1
        played = first.copy(tmp_path / f"killed-{number}")
        lines, fatal = 0, number
        with pytest.raises(Killed):
            played.go(TRIALS + 3, after, workers=1 + number % 3, retry=True)
        fatal = -1
        played.go(TRIALS + 3, after, workers=1 + number % 2, retry=True)
        assert played.everything() == expected, number


def test_search_repeats_a_hop_that_ran_out_of_memory(
    rerun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, begin = tiny(**SMALL, search={"sampler": "random"}), Trainer.begin

    def beginning(self: Trainer, hop: Hop, part: Any = ()) -> Any:
        if hop.model.width == 6:
            raise torch.OutOfMemoryError("no room")
        return begin(self, hop, part)

    monkeypatch.setattr(Trainer, "begin", beginning)
    run = rerun(study, trials=3)
    found = run.trials[2]
    assert (found.state, found.cause) == ("failed", "machine")
    assert found.reason == "hop 16 → 6: out of memory on cpu"
    monkeypatch.undo()
    run = rerun(study, trials=3)
    assert (run.trials[3].retry_of, run.trials[3].state) == (2, "complete")
    assert optunas_study(run).trials[2].user_attrs["cause"] == "machine"


def test_search_refuses_incomplete_copies_of_a_retry(
    digits: Table, hops: tuple[str, str], tmp_path: Path
) -> None:
    played = Replay(digits, tmp_path / "run")
    played.go(14, {hops[1]: "failed"})
    (failed,) = (t for t in played.proposed() if t.state == "failed")
    study = played.optunas_study()
    params = study.trials[failed.number].params
    for attrs in ({}, {"retry_since": "1"}, {"retry_since": None}, {"retry_since": True}):
        study.enqueue_trial(params, user_attrs={"retry_of": failed.number, **attrs})
    played.go(16, {})
    assert [t.state for t in played.trials()].count("refused") == 4
    straight = Replay(digits, tmp_path / "straight")
    straight.go(14, {hops[1]: "failed"})
    straight.go(16, {})
    mine = [vars(t) for t in played.trials() if t.state != "refused"]
    theirs = [vars(t) for t in straight.trials()]
    assert [{**t, "number": 0} for t in mine] == [{**t, "number": 0} for t in theirs]
