"""The live view of a search at 80 columns, and its plain lines."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

import tasearch
from tasearch.cli.live_view import LiveView, front_table, trial_line
from tasearch.cli.plain_view import PlainView
from tasearch.cli.words import Words
from tasearch.pareto.front import Front
from tasearch.runs.events import EpochDone, HopEnded, HopStarted, SearchFinished, TrialDone
from tasearch.runs.records import TrialRecord
from tests.helpers.search_states import events_again, search_state

LONG = (99, 80, 60, 50, 40, 30, 20, 10, 2)
RECIPE = {"loss": "kd-std", "temperature": 4.0, "alpha": 0.95, "learning_rate": 0.01}


def screen(thing: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(thing)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_live_view_counts_all_trials_at_the_end(finished: tasearch.Run) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with LiveView(console, search_state(finished)) as view:
        view.show(SearchFinished(reason="8 trials are done", done=8))
    assert "8/8" in console.file.getvalue()  # type: ignore[attr-defined]


def test_live_view_tells_what_is_trained_and_how_it_goes(finished: tasearch.Run) -> None:
    state = search_state(finished)
    view = LiveView(Console(file=io.StringIO(), width=80), state)
    label = "16 → 12 → 8 → 6"
    view.show(HopStarted(key="a", label=label, epoch=0, epochs=4, recipe=None))
    for epoch, accuracy in ((1, 0.25), (2, None)):
        view.show(
            EpochDone(key="a", label=label, epoch=epoch, epochs=4, loss=1.25, accuracy=accuracy)
        )
    reason = "hop 16 → 4: out of memory on cpu"
    failed = TrialRecord(number=0, state="failed", chain=(16, 4), reason=reason)
    view.show(TrialDone(record=failed, done=1, trials=10))
    text = screen(view.render())
    assert re.search(rf"training +{label} +epoch 2/4 +loss 1\.250 +25\.0%", text)
    assert "1/10" in text and re.search(r"\d+( s)? to \d+ (s|min) left", text)
    assert "1 failed: out of memory on cpu" in text
    assert "no student is trained yet" in text
    view.show(HopEnded(key="a", label=label, outcome="complete", epoch=4, seconds=1.0))
    assert "training" not in screen(view.render())


@pytest.mark.parametrize("width", [80, 120])
def test_live_view_cuts_nothing(finished: tasearch.Run, width: int) -> None:
    state = search_state(finished)
    state.words = Words(state.words.measured, [(r, f) for r in ("student",) for f in RECIPE])
    view = LiveView(Console(file=io.StringIO(), width=width), state)
    for event in events_again(finished):
        view.show(event)
    text = screen(view.render(), width)
    assert "…" not in text
    best = state.front.candidates[0]
    assert f"{best.label}: {best.accuracy:.1%}" in text
    assert all(f"{c.accuracy:.1%}" in text and f"{c.params:,}" in text for c in state.front.members)


def test_long_chains_and_recipes_go_on_in_the_next_line(finished: tasearch.Run) -> None:
    best = replace(finished.best(), chain=LONG, recipe={"student": RECIPE, "assistants": RECIPE})
    roles = [(role, field) for role in ("assistants", "student") for field in RECIPE]
    words = Words({2: finished.manifest.measured[2]}, roles)
    record = TrialRecord(
        number=7, state="complete", chain=LONG, recipe=best.recipe, accuracy=best.accuracy
    )
    for thing in (front_table(Front([best]), words), trial_line(words, record)):
        text = screen(thing)
        assert "…" not in text
        assert all(len(line) <= 80 for line in text.splitlines())
        assert {str(width) for width in LONG} <= {*re.findall(r"\d+", text)}
        assert text.count("kd-std") == 2 and text.count("0.95") == 2


def test_lines_have_one_decimal_and_say_which_trial_is_an_assistant(
    finished: tasearch.Run,
) -> None:
    measured = finished.manifest.measured
    words = Words(measured, [])
    for trial in (t for t in finished.trials if t.state == "complete"):
        assert trial.accuracy is not None
        accuracy, params = f"{trial.accuracy:.1%}", f"{measured[trial.chain[-1]].params:,}"
        mark = r" +\(assistant of another trial\)" if trial.free else ""
        for line in (words.trial(trial), screen(trial_line(words, trial), 120).rstrip()):
            shown = rf"complete +{accuracy} +{params} .* ms +{trial.label}{mark}"
            assert re.search(rf"{shown}$", line), line
    assert {trial.free for trial in finished.trials} == {True, False}


def test_best_tells_its_gain_over_direct_distillation(finished: tasearch.Run) -> None:
    behind = next(t for t in finished.trials if len(t.chain) > 2 and t.state == "complete")
    direct = next(t for t in finished.trials if t.chain == (16, behind.chain[-1]))
    assert behind.accuracy is not None
    direct = replace(direct, state="complete", recipe=behind.recipe, accuracy=0.0)
    state = search_state(finished)
    state.take(TrialDone(record=behind, done=1, trials=10))
    assert state.best.endswith("; no finished direct chain")
    state.take(TrialDone(record=direct, done=2, trials=10))
    assert state.best.endswith(f"; {100 * behind.accuracy:+.1f} points over direct")


def test_plain_view_tells_of_each_tenth_once(finished: tasearch.Run) -> None:
    console = Console(file=io.StringIO(), width=80)
    view = PlainView(console, search_state(finished))
    for event in events_again(finished):
        view.show(event)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(re.match(r" *\d+\.\d s  ", line) for line in lines)
    told = [re.search(r"s  (\d+) of 10: .* left$", line) for line in lines]
    assert [int(found.group(1)) for found in told if found] == [*range(1, 10)]


def test_time_left_of_a_search_comes_to_nothing(finished: tasearch.Run) -> None:
    state = search_state(finished)
    for event in events_again(finished):
        state.take(event)
    assert state.left == "0 s left"
    state.take(SearchFinished(reason="10 trials are done", done=10))
    assert state.left == ""
