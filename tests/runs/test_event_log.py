"""The event log: damage is reported, and changes no result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tasearch
from tasearch.report.status import status_lines
from tasearch.runs.event_log import EventLog
from tests.helpers.damage import resumed, told


def test_search_starts_despite_a_damaged_event_log(copy: Path) -> None:
    file = copy / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b'{"a":1}\n', *lines[3:]]))
    words = f"{file}: line 3 bears no seal, and 1 more line"
    assert dict(status_lines(tasearch.Run.open(copy)))["damage"] == f"{words}; it is left out"
    _, events = resumed(copy)
    assert told(events) == [f"{words}; it is left out, and so are its seconds"]
    assert dict(status_lines(tasearch.Run.open(copy)))["time"].startswith("wall time at least ")
    file.write_bytes(os.urandom(5000))
    run, events = resumed(copy, trials=11)
    assert told(events)[0].startswith(f"{file}: line 1 bears no seal")
    assert len(run.directory.events()) >= 2


@pytest.mark.parametrize("lost", ["emptied", "removed"])
def test_status_reports_a_lost_event_log(copy: Path, lost: str) -> None:
    file = copy / "events.jsonl"
    file.write_bytes(b"") if lost == "emptied" else file.unlink()
    lines = dict(status_lines(tasearch.Run.open(copy)))
    assert lines["damage"] == f"{file}: is missing, or has lost its lines"
    assert " of unknown: " in lines["trials"]
    assert lines["time"] == (
        "wall time at least 0 s, training time at least 0 s, all workers together; "
        "how long is left is not known"
    )


def test_status_keeps_the_accuracy_of_a_lost_teacher(copy: Path) -> None:
    before = dict(status_lines(tasearch.Run.open(copy)))["teacher"]
    assert before.startswith("accuracy ")
    for file in (copy / "hops").iterdir():
        file.unlink()
    assert dict(status_lines(tasearch.Run.open(copy)))["teacher"] == before


def test_lost_lines_of_an_event_log_never_add_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    log, now = EventLog(file), [0.0]
    monkeypatch.setattr("tasearch.runs.event_log.time.time", lambda: now[0])
    for at, event in (
        *((1e9, "search"), (1e9 + 4, "start"), (1e9 + 10, "end")),
        *((2e9, "search"), (2e9 + 3, "start"), (2e9 + 5, "end")),
    ):
        now[0] = at
        log.append(event, {})
    assert log.read().seconds == 15.0
    lines = file.read_bytes().splitlines(keepends=True)
    for place, line in enumerate(lines):
        for instead in (b"", b"[]\n", line.replace(b"000", b"007", 1)):
            file.write_bytes(b"".join([*lines[:place], instead, *lines[place + 1 :]]))
            assert 0.0 <= EventLog(file).read().seconds <= 15.0, (place, instead)
