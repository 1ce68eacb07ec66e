"""The views of a running confirmation."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from rich.console import Console

import tasearch
from tasearch.cli.confirm_view import ConfirmLiveView, ConfirmPlainView, LookState
from tasearch.cli.plain_view import TENTHS
from tasearch.runs.events import EpochDone, Event, HopEnded, HopStarted, LookStarted

RECIPE = {"loss": "kd", "temperature": 4.0, "alpha": 0.9, "learning_rate": 0.01, "epochs": 4}


@pytest.fixture
def state(finished: tasearch.Run) -> LookState:
    """A confirmation whose clock shows a second more at each look at it."""
    clock = itertools.count()
    return LookState(finished.manifest, clock=lambda: float(next(clock)))


def look(number: int, pairs: tuple[int, ...], new: int, stored: int = 0) -> LookStarted:
    return LookStarted(look=number, pairs=pairs, new=new, stored=stored, hops=((6, 4), (4, 4)))


def hop(key: str, width: int) -> list[Event]:
    label = f"16 → {width}"
    started = HopStarted(key=key, label=label, epoch=0, epochs=4, recipe=RECIPE)
    epochs = (
        EpochDone(key=key, label=label, epoch=epoch, epochs=4, loss=0.5, accuracy=0.25)
        for epoch in range(1, 5)
    )
    return [
        started,
        *epochs,
        HopEnded(key=key, label=label, outcome="complete", epoch=4, seconds=1.0),
    ]


def test_line_tells_look_seeds_hops_and_time(state: LookState) -> None:
    state.take(look(1, (4, 8, 16), 4, stored=3))
    assert state.line == (
        "look 1 of at most 3: 4 fresh seeds, 3 of 5 hops; time left not known yet"
    )
    for event in hop("a", 6):
        state.take(event)
    assert re.fullmatch(
        r"look 1 of at most 3: 4 fresh seeds, 4 of 5 hops; \d+ (s )?to \d+ (s|min) left",
        state.line,
    )


def test_time_left_is_of_this_look_or_of_all_that_may_follow(state: LookState) -> None:
    state.take(look(1, (4, 8), 4))
    for event in [*hop("a", 6), *hop("b", 4)]:
        state.take(event)
    assert state.left is not None
    assert state.left[0] == 0 < state.left[1]
    state.take(look(2, (8,), 4))
    low, high = state.left
    assert 0 < low < high
    for event in [*hop("c", 6), *hop("d", 4)]:
        state.take(event)
    assert state.left == (0.0, 0.0)


def test_live_view_shows_the_hops_at_80_columns(state: LookState) -> None:
    view = ConfirmLiveView(Console(file=io.StringIO(), width=80), state)
    view.show(look(1, (4, 8, 16), 4))
    for event in hop("a", 6)[:-1]:
        view.show(event)
    console = Console(file=io.StringIO(), width=80)
    console.print(view.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"training +16 → 6 +epochs 4 +epoch 4/4 +loss 0\.500 +25\.0%", text)
    assert "…" not in text


def test_plain_view_has_a_line_for_each_look_and_each_tenth(state: LookState) -> None:
    console = Console(file=io.StringIO(), width=80)
    view = ConfirmPlainView(console, state)
    for event in [look(1, (4, 8), 4), *hop("a", 6), *hop("b", 4), look(2, (8,), 4), *hop("c", 6)]:
        view.show(event)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(re.match(r" +\d+\.0 s  look [12] of at most 2: ", line) for line in lines)
    told = [line.partition("look ")[2][0] for line in lines]
    assert told == sorted(told)
    assert 5 <= told.count("1") <= TENTHS  # eight epochs of two widths
    assert told.count("2") == 1 + 4  # four epochs, of which none ends the look
    assert len({line.partition("hops; ")[2] for line in lines}) > 2  # the time left changes
