"""One line on the progress of a search."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import tasearch
from tasearch.api import progress_line
from tasearch.api.progress_line import ProgressLine
from tasearch.errors import RunError
from tasearch.runs.events import (
    EpochDone,
    Event,
    HopReused,
    Notice,
    SearchFinished,
    TrialDone,
    TrialStarted,
)

EPOCH = EpochDone(key="k", label="8 → 4", epoch=1, epochs=3, loss=0.5, accuracy=None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 60 columns in which each line is drawn."""
    shown = Terminal()
    own = SimpleNamespace(stderr=shown, modules={})  # pytest sets sys.stderr itself
    monkeypatch.setattr(progress_line, "sys", own)
    monkeypatch.setattr(progress_line, "REDRAW_S", -1.0)
    monkeypatch.setenv("COLUMNS", "60")
    return shown


def events(run: tasearch.Run) -> list[Event]:
    """The start and the end of the trials of a run, as its search has told them."""
    found: list[Event] = []
    for done, record in enumerate(run.trials, 1):
        started = TrialStarted(
            number=record.number, label=record.label, done=done - 1, trials=len(run.trials)
        )
        found += [started, EPOCH, TrialDone(record=record, done=done, trials=len(run.trials))]
    return [*found, HopReused(label="8"), SearchFinished(reason="all trials done", done=done)]


def lines(terminal: Terminal) -> list[str]:
    """What the terminal has shown, one line after the other."""
    text = terminal.getvalue()
    assert text.startswith("\r") and text.endswith("\n") and text.count("\n") == 1
    drawn = text[1:-1].split("\r")
    assert {len(line) for line in drawn} == {59}  # each covers the one before
    return [line.rstrip() for line in drawn]


def test_terminal_shows_one_line_with_the_best_so_far(
    finished: tasearch.Run, terminal: Terminal
) -> None:
    best, count = finished.front.candidates[0], len(finished.trials)
    with ProgressLine("tiny") as line:
        line.read(3, 7)
        for event in events(finished):
            line.take(event)
    drawn = lines(terminal)
    assert drawn[:3] == [
        "tiny: preparing",
        "tiny: 3 of 7 samples read",
        f"tiny: 0 of {count} trials; 8 → 4, epoch 1 of 3",
    ]
    words = f"tiny: {count} of {count} trials; best {best.label}: {best.accuracy:.1%}"
    assert words in drawn
    assert drawn[-1] == f"{words}; finished: all trials done"[:59].rstrip()


def test_best_of_an_earlier_search_counts(finished: tasearch.Run, terminal: Terminal) -> None:
    best, last = finished.front.candidates[0], finished.trials[-1]
    with ProgressLine("tiny") as line:
        line.run = finished.path
        line.take(TrialStarted(number=9, label="8", done=4, trials=9))
        line.take(
            TrialDone(record=replace(last, state="complete", accuracy=0.01), done=5, trials=9)
        )
    assert lines(terminal)[-1] == f"tiny: 5 of 9 trials; best {best.label}: {best.accuracy:.1%}"


def test_pruned_students_are_not_the_best(finished: tasearch.Run, terminal: Terminal) -> None:
    record = replace(finished.trials[0], state="pruned", accuracy=1.0)
    with ProgressLine("tiny") as line:
        line.take(TrialDone(record=record, done=1, trials=9))
    assert lines(terminal)[-1] == "tiny: 1 of 9 trials"


def test_lines_are_not_drawn_too_often(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_line, "REDRAW_S", 1000.0)
    with ProgressLine("tiny") as line:
        for _ in range(100):
            line.take(EPOCH)
    assert len(lines(terminal)) == 2  # the first, and the last when it ends


@pytest.mark.parametrize("shown", [True, False])
def test_nothing_is_written_to_a_file_or_if_it_is_not_wanted(
    shown: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    if shown:
        monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    with ProgressLine("tiny", told.append, shown=shown) as line:
        line.take(EPOCH)
        line.take(Notice(message="hm"))
    assert terminal.getvalue() == ""
    assert told == [EPOCH, Notice(message="hm")]


def test_notices_stay_on_the_terminal(terminal: Terminal) -> None:
    with ProgressLine("tiny") as line:
        line.take(Notice(message="hm"))
        line.take(EPOCH)
    ended = [line.strip() for line in terminal.getvalue().split("\n")]
    assert ended[0].endswith("notice: hm") and ended[1].startswith("tiny: 0 of 0 trials; 8 → 4")


def test_notebook_has_one_output_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))
    ipython, inner = ModuleType("IPython"), ModuleType("IPython.display")

    def display(bundle: Any, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        shown.append(["new", bundle])
        return handle

    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=1), raising=False)
    monkeypatch.setattr(inner, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    with ProgressLine("tiny") as line:
        line.take(Notice(message="hm"))
        line.read(1, 1)
    assert shown == [
        ["new", {"text/plain": "tiny: preparing"}],
        {"text/plain": "notice: hm"},
        ["new", {"text/plain": "tiny: 1 of 1 samples read"}],
        {"text/plain": "tiny: 1 of 1 samples read"},
    ]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(RunError) as error:
        ProgressLine("tiny", 3)  # type: ignore[arg-type]
    assert str(error.value) == "on_event: should be a function, found 3"
