"""A running confirmation: live on a terminal, a line per look elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tasearch.cli.live_view import REDRAW_S, hops_table
from tasearch.cli.search_state import HopState
from tasearch.cli.words import Words
from tasearch.report.time_left import Range, Work, left_text
from tasearch.report.training_times import TrainingTimes
from tasearch.runs.events import EpochDone, Event, HopEnded, HopStarted, LookStarted
from tasearch.runs.manifest import Manifest


class LookState:
    """A confirmation as far as its events have told.

    Args:
        manifest: The run's manifest.
        clock: Function that returns the time in seconds.

    Attributes:
        hops: The hops in training, by key.
    """

    def __init__(self, manifest: Manifest, clock: Callable[[], float] = time.monotonic) -> None:
        self._words = Words.of_study(manifest.study, manifest.measured)
        self._times, self._clock, self._begun = TrainingTimes(manifest), clock, clock()
        self._look: LookStarted | None = None
        self._before: set[str] = set()  # hops that earlier looks have begun
        self._ended = 0
        self.hops: dict[str, HopState] = {}

    def take(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, LookStarted):
            self._look, self._ended, self._before = event, 0, {*self._times.reached}
        elif isinstance(event, HopStarted) and event.epochs:
            self._times.start(event.key, event.label, event.epoch, self._seconds)
            words = self._words.hop(event)
            self.hops[event.key] = HopState(words=words, epoch=event.epoch, epochs=event.epochs)
        elif isinstance(event, EpochDone):
            new = self._look.new if self._look else None
            self._times.reach(event.key, event.epoch, self._seconds, new)
            self.hops[event.key].take(event)
        elif isinstance(event, HopEnded):
            self._ended += event.key in self.hops
            self.hops.pop(event.key, None)

    @property
    def line(self) -> str:
        """The look, its seeds, its hops and the time left, in one line."""
        look = self._look
        if look is None:
            return "no look has begun"
        last = look.look + len(look.pairs) - 1
        planned = look.stored + len(look.hops)
        return (
            f"look {look.look} of at most {last}: {look.pairs[0]} fresh seeds, "
            f"{look.stored + self._ended} of {planned} hops; {left_text(self.left)}"
        )

    @property
    def left(self) -> Range | None:
        """Seconds that are left: of this look, and of all that may follow."""
        look = self._look
        if look is None:
            return None
        whole, done, later = Work(), Work(), Work()
        more = sum(b - a for a, b in zip(look.pairs, look.pairs[1:], strict=False))
        for width, epochs in look.hops:
            whole += self._times.work(width, epochs, look.new)
            later += self._times.work(width, epochs, more) if more else Work()
        later = Work(flops=later.flops, epochs=later.epochs * (len(look.pairs) - 1))
        for key, (width, epoch) in self._times.reached.items():
            if key not in self._before:
                done += self._times.work(width, epoch, look.new)
        rest = whole.less(done)
        return self._times.left(self._seconds, rest, rest + later)

    @property
    def _seconds(self) -> float:
        return self._clock() - self._begun


class ConfirmLiveView:
    """The look and the hops in training, redrawn in place.

    Args:
        console: The terminal.
        state: The confirmation.
    """

    def __init__(self, console: Console, state: LookState) -> None:
        self._state, self._drawn = state, 0.0
        # without a thread that draws, else lines get lost
        self._live = Live(self.render(), console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        now = time.monotonic()
        if now - self._drawn > REDRAW_S or not isinstance(event, EpochDone):
            self._live.update(self.render(), refresh=True)
            self._drawn = now

    def render(self) -> Group:
        """What the terminal shows now."""
        return Group(Text(self._state.line), hops_table(self._state.hops))


class ConfirmPlainView:
    """A line when a look begins.

    Args:
        console: Where to print.
        state: The confirmation.
    """

    def __init__(self, console: Console, state: LookState) -> None:
        self._console, self._state = console, state

    def show(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        if isinstance(event, LookStarted):
            self._console.print(self._state.line, soft_wrap=True)
