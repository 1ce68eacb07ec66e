"""A running confirmation: live on a terminal, a line for each tenth of a look elsewhere."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.text import Text

from tasearch.cli.live_view import Redrawn, hops_table
from tasearch.cli.plain_view import TENTHS
from tasearch.cli.search_state import HopState
from tasearch.cli.words import Words
from tasearch.pareto.metric import Metric
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
        self._words = Words.of_run(manifest)
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
            self._times.start(event.key, event.label, event.epoch, self.seconds)
            words = self._words.hop(event)
            self.hops[event.key] = HopState(words=words, epoch=event.epoch, epochs=event.epochs)
        elif isinstance(event, EpochDone):
            new = self._look.new if self._look else None
            self._times.reach(event.key, event.epoch, self.seconds, new)
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
        more, later = sum(b - a for a, b in itertools.pairwise(look.pairs)), Work()
        for width, epochs in look.hops:
            later += self._times.work(width, epochs, more) if more else Work()
        later = Work(flops=later.flops, epochs=later.epochs * (len(look.pairs) - 1))
        whole, done = self._work(look)
        rest = whole.less(done)
        return self._times.left(self.seconds, rest, rest + later)

    @property
    def tenths(self) -> int:
        """Tenths of this look's training that are done, rounded down; 0 without training."""
        whole, done = self._work(self._look) if self._look else (Work(), Work())
        return int(TENTHS * done.flops / whole.flops + 1e-9) if whole.flops else 0

    def _work(self, look: LookStarted) -> tuple[Work, Work]:
        """The training of a look, and what of it is done."""
        whole, done = Work(), Work()
        for width, epochs in look.hops:
            whole += self._times.work(width, epochs, look.new)
        for key, (width, epoch) in self._times.reached.items():
            if key not in self._before:
                done += self._times.work(width, epoch, look.new)
        return whole, done

    @property
    def metric(self) -> Metric:
        """What the models are compared by."""
        return self._words.metric

    @property
    def seconds(self) -> float:
        """Seconds since the confirmation began."""
        return self._clock() - self._begun


class ConfirmLiveView:
    """The look and the hops in training, redrawn in place.

    Args:
        console: The terminal.
        state: The confirmation.
    """

    def __init__(self, console: Console, state: LookState) -> None:
        self._state = state
        self._redrawn = Redrawn(console, self.render, transient=True)

    def __enter__(self) -> Self:
        self._redrawn.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._redrawn.__exit__(*error)

    def show(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        self._redrawn.after(event)

    def render(self) -> Group:
        """What the terminal shows now."""
        return Group(Text(self._state.line), hops_table(self._state.hops, self._state.metric))


class ConfirmPlainView:
    """A line when a look begins, and with each tenth of its training.

    Args:
        console: Where to print.
        state: The confirmation.
    """

    def __init__(self, console: Console, state: LookState) -> None:
        self._console, self._state, self._tenths = console, state, 0

    def show(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        begins, tenths = isinstance(event, LookStarted), self._state.tenths
        if begins or self._tenths < tenths < TENTHS:
            line = f"{self._state.seconds:7.1f} s  {self._state.line}"
            self._console.print(line, soft_wrap=True)
        self._tenths = tenths if begins else max(self._tenths, tenths)
