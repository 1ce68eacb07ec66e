"""The journal: its damage, and what other programs write to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

import tasearch
from tasearch import RunError
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import HopStarted
from tasearch.runs.journal import REMEDY
from tests.helpers.damage import EDITED, GAP, ORDER, resumed, told
from tests.helpers.runs import contents, facts, optunas_storage, optunas_study


@pytest.mark.parametrize("name", ["journal.log", "events.jsonl"])
def test_logs_detect_lines_removed_doubled_and_swapped(copy: Path, name: str) -> None:
    file = copy / name
    lines = file.read_bytes().splitlines(keepends=True)
    run = tasearch.Run.open(copy)
    trials, whole = run.trials, run.directory.history()
    middle = len(lines) // 2

    def told(changed: list[bytes]) -> str:
        file.write_bytes(b"".join(changed))
        if name == "events.jsonl":
            return RunDirectory(copy).history().damage
        with pytest.raises(RunError) as error:
            _ = tasearch.Run.open(copy).trials
        assert str(error.value).endswith(f"; {REMEDY}")
        return str(error.value).removesuffix(f"; {REMEDY}")

    for place in sorted({0, 1, middle, len(lines) - 2}):
        line = lines[place]
        removed = told(lines[:place] + lines[place + 1 :])
        assert removed == f"{file}: line {place + 1} {GAP}"
        doubled = told([*lines[: place + 1], line, *lines[place + 1 :]])
        assert doubled == f"{file}: line {place + 2} {ORDER}"
        swapped = told([*lines[:place], lines[place + 1], line, *lines[place + 2 :]])
        assert swapped.startswith(f"{file}: line {place + 1} {GAP}")
        torn = told([*lines[:place], line[: len(line) // 2] + b"\n", *lines[place + 1 :]])
        assert torn.startswith(f"{file}: line {place + 1} ")
        edited = told([*lines[:place], line.replace(b":", b": ", 1), *lines[place + 1 :]])
        assert edited == f"{file}: line {place + 1} {EDITED}"
        for junk in (b"[]\n", b'{"a":1}\n', b"\xff\n", b"\n", b"[" * 3000 + b"\n"):
            assert told([*lines[:place], junk, *lines[place:]]).startswith(
                f"{file}: line {place + 1} "
            )
    file.write_bytes(b"".join(lines))
    assert tasearch.Run.open(copy).trials == trials
    assert RunDirectory(copy).history() == whole


def test_search_sets_a_damaged_journal_aside_and_rebuilds_it(
    copy: Path, finished: tasearch.Run
) -> None:
    journal = copy / "journal.log"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, place in enumerate((0, len(lines) // 2), 1):
        damaged = b"".join([*lines[:place], b"x" + lines[place], *lines[place + 1 :]])
        journal.write_bytes(damaged)
        run, events = resumed(copy)
        assert told(events) == [
            f"{journal}: line {place + 1} {EDITED}; it is kept as journal.log.damaged-{number}, "
            f"and the same chains are tried again"
        ]
        assert (copy / f"journal.log.damaged-{number}").read_bytes() == damaged
        assert facts(run) == facts(finished)
        assert contents(run) == contents(finished)
        assert not any(isinstance(event, HopStarted) for event in events)


def test_reader_refuses_a_shortened_journal_and_search_completes_it(
    copy: Path, finished: tasearch.Run
) -> None:
    journal = copy / "journal.log"
    for share in (0.9, 0.0):
        lines = journal.read_bytes().splitlines(keepends=True)
        kept = int(share * len(lines))
        journal.write_bytes(b"".join(lines[:kept]))
        if not kept:
            journal.unlink()
        with pytest.raises(RunError) as error:
            _ = tasearch.Run.open(copy).trials
        assert str(error.value) == (
            f"{journal}: has {kept} lines, and had {len(lines)} when its search ended; put it "
            f"back, or let `tasearch run` on the same study make the rest again from the hops "
            f"that are stored"
        )
        run, events = resumed(copy)
        assert facts(run) == facts(finished)
        assert not any(isinstance(event, HopStarted) for event in events)


def test_unfinished_last_line_is_no_damage(copy: Path, finished: tasearch.Run) -> None:
    for name in ("journal.log", "events.jsonl"):
        with (copy / name).open("ab") as stream:
            stream.write(b'{"op_code":')
    run = tasearch.Run.open(copy)
    assert facts(run) == facts(finished)
    assert run.directory.history() == finished.directory.history()
    run, events = resumed(copy)
    assert facts(run) == facts(finished)
    assert not told(events)
    assert not run.directory.history().damage


def test_optunas_own_backend_reads_the_journal(copy: Path, finished: tasearch.Run) -> None:
    study = optunas_study(tasearch.Run.open(copy))
    assert study.user_attrs["identity"] == finished.manifest.identity
    assert [t.number for t in study.trials] == [t.number for t in finished.trials]


def test_reader_accepts_foreign_lines_without_effect_on_results(
    copy: Path, finished: tasearch.Run
) -> None:
    study = optunas_study(tasearch.Run.open(copy))
    study.set_user_attr("note", "looks good")
    storage = optunas_storage(tasearch.Run.open(copy))
    storage.set_study_system_attr(0, "dashboard:note:0", "text")
    optuna.create_study(storage=storage, study_name="mine").optimize(lambda t: 1.0, 2)
    assert facts(tasearch.Run.open(copy)) == facts(finished)
    journal = copy / "journal.log"
    run, _ = resumed(copy, trials=11)  # the lines of others are covered by what follows
    assert facts(run)[: len(finished.trials)] == facts(finished)
    text = journal.read_bytes()
    journal.write_bytes(text.replace(b"looks good", b"looks fine"))
    with pytest.raises(RunError, match=r"journal\.log: line \d+ does not follow the line before"):
        _ = tasearch.Run.open(copy).trials


def test_reader_accepts_a_queued_trial(copy: Path, finished: tasearch.Run) -> None:
    optunas_study(tasearch.Run.open(copy)).enqueue_trial({"assistants": 0})
    trials = tasearch.Run.open(copy).trials
    assert [t.state for t in trials[len(finished.trials) :]] == ["waiting"]


def entered(study: optuna.Study) -> None:
    study.add_trial(optuna.trial.create_trial(values=[1.0, 1.0, 1.0]))


def told_values(study: optuna.Study) -> None:
    study.tell(study.ask(), [1.0, 1.0, 1.0])


def queued_with_attribute(study: optuna.Study) -> None:
    study.enqueue_trial({"assistants": 0}, user_attrs={"free": True})


@pytest.mark.parametrize(
    ("change", "state"),
    [(entered, "foreign"), (told_values, "foreign"), (queued_with_attribute, "waiting")],
)
def test_reader_recognizes_trials_of_others(
    copy: Path, finished: tasearch.Run, change: Callable[[optuna.Study], None], state: str
) -> None:
    change(optunas_study(tasearch.Run.open(copy)))
    read = tasearch.Run.open(copy)
    assert [t.state for t in read.trials[len(finished.trials) :]] == [state]
    assert facts(read)[: len(finished.trials)] == facts(finished)
    assert read.front.members == finished.front.members


def renamed_metrics(study: optuna.Study) -> None:
    study.set_metric_names(["a", "b", "c"])


def claimed(study: optuna.Study) -> None:
    study.set_user_attr("identity", "0" * 32)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (renamed_metrics, "sets the attribute 'study:metric_names', which is tasearch's"),
        (claimed, "sets the attribute 'identity', which is tasearch's"),
    ],
)
def test_reader_refuses_results_that_others_write(
    copy: Path, change: Callable[[optuna.Study], None], fault: str
) -> None:
    journal = copy / "journal.log"
    lines = journal.read_bytes().count(b"\n")
    change(optunas_study(tasearch.Run.open(copy)))
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value) == f"{journal}: line {lines + 1} bears no seal and {fault}; {REMEDY}"


def test_reader_refuses_a_journal_of_an_older_version(copy: Path) -> None:
    journal = copy / "journal.log"
    plain = []
    for line in journal.read_text().splitlines():
        content = json.loads(line)
        plain.append({k: v for k, v in content.items() if k not in ("line", "before", "seal")})
    journal.write_text("".join(json.dumps(content) + "\n" for content in plain))
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value) == (
        f"{journal}: line 1 bears no seal and makes this run's study: an older version of tasearch "
        f"wrote it; {REMEDY}"
    )
