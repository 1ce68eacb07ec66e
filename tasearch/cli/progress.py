"""A running search for people: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasearch.chains.recipe import LABELS_ONLY
from tasearch.chains.recipes import ONLY_DISTILLED
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.measurement import Measurement
from tasearch.report.text import duration
from tasearch.runs.events import (
    EpochDone,
    Event,
    HopEnded,
    HopStarted,
    Notice,
    SearchFinished,
    TrialDone,
    TrialStarted,
)
from tasearch.runs.records import TrialRecord, candidates

FRONT_ROWS = 12
REDRAW_S = 0.1  # at least, between two epochs that are shown
SHORT = {"temperature": "T", "learning_rate": "lr"}


class Clock:
    """Time left, from the trials that this process has done."""

    def __init__(self) -> None:
        self._begun, self._done = time.monotonic(), 0

    def tick(self, record: TrialRecord) -> None:
        self._done += not record.free

    def left(self, trials: int) -> str:
        """The estimated time for so many trials, in words."""
        if not self._done:
            return "unknown"
        return duration((time.monotonic() - self._begun) / self._done * trials)


class Words:
    """Trials in words.

    Args:
        measured: Measurement of each width.
        searched: (role, field) of the recipe fields that are searched, and so are shown.
    """

    def __init__(
        self, measured: Mapping[int, Measurement], searched: Sequence[tuple[str, str]]
    ) -> None:
        self.measured, self.searched = measured, searched

    def recipe(self, recipe: Mapping[str, Any]) -> str:
        """The searched fields of a trial's recipes, in short."""
        found = []
        for role, field in self.searched:
            if recipe[role] and _counts(field, recipe[role]):
                who = "assistants' " if role == "assistants" else ""
                found.append(f"{who}{_shown(field, recipe[role])}")
        return ", ".join(found)

    def hop(self, event: HopStarted) -> str:
        """A hop with the searched fields of its recipe."""
        own = event.recipe
        if own is None:
            return event.label
        fields = dict.fromkeys(field for _, field in self.searched if _counts(field, own))
        words = ", ".join(_shown(field, own) for field in fields)
        return f"{event.label}  {words}" if words else event.label

    def trial(self, record: TrialRecord) -> str:
        """One finished trial in one line, the most important first.

        An assistant that is a candidate by itself is called "free".
        """
        state = "free" if record.free and record.state == "complete" else record.state
        parts = [f"{state:<8}"]
        if record.accuracy is not None:
            size = self.measured[record.chain[-1]]
            cost = f"{size.params:>9,} params {size.latency_ms:>8.4g} ms"
            parts.append(f"{record.accuracy:7.2%} {cost}")
        parts.append(record.label)
        if self.searched and record.recipe:
            parts.append(self.recipe(record.recipe))
        if record.reason:
            parts.append(f"({record.reason})")
        return "  ".join(part for part in parts if part)


def _counts(field: str, recipe: Mapping[str, Any]) -> bool:
    """Whether a field affects a model with this recipe."""
    return field not in ONLY_DISTILLED or recipe["loss"] != LABELS_ONLY


def _shown(field: str, recipe: Mapping[str, Any]) -> str:
    return f"{SHORT.get(field, field)} {recipe[field]}"


class Plain:
    """Lines, for pipes and files."""

    def __init__(self, console: Console, words: Words) -> None:
        self._console, self._words, self._clock = console, words, Clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        if isinstance(event, HopStarted):
            again = f" from epoch {event.epoch}" if event.epoch else ""
            what = f"train {self._words.hop(event)}" if event.epochs else f"load {event.label}"
            self._print(f"  {what}{again}")
        elif isinstance(event, TrialDone):
            self._clock.tick(event.record)
            left = self._clock.left(event.trials - event.done)
            line = self._words.trial(event.record)
            self._print(f"[{event.done}/{event.trials}] trial {event.record.number}: {line}")
            if event.done % 10 == 0 and event.done < event.trials and not event.record.free:
                self._print(f"  about {left} left")
        elif isinstance(event, HopEnded) and event.teacher and event.accuracy is not None:
            self._print(f"  teacher {event.label}: accuracy {event.accuracy:.2%}")
        elif isinstance(event, Notice):
            self._print(f"notice: {event.message}")
        elif isinstance(event, SearchFinished):
            self._print(f"finished: {event.reason}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """Trials, the hop in training, time left and the front, redrawn in place."""

    def __init__(self, console: Console, words: Words, earlier: list[TrialRecord]) -> None:
        self._console, self._words, self._clock = console, words, Clock()
        self._members = Front(candidates(earlier, words.measured)).members
        self._trial = "starting"
        self._hops: dict[str, tuple[int, int, str]] = {}  # epoch, epochs and words of each
        self._done = self._trials = 0
        self._drawn = 0.0
        self._live = Live(
            self._render(), console=console, auto_refresh=False
        )  # else lines get lost

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._hops.clear()
        self._live.update(self._render(), refresh=True)
        self._live.stop()

    def show(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._done, self._trials = event.done, event.trials
            self._trial = f"trial {event.number}: {event.label}"
        elif isinstance(event, HopStarted):
            words = f"training {event.label}" if event.epochs else f"loading {event.label}"
            self._hops[event.key] = event.epoch, event.epochs, words
        elif isinstance(event, EpochDone):
            words = f"training {event.label}, loss {event.loss:.3f}"
            self._hops[event.key] = event.epoch, event.epochs, words
        elif isinstance(event, TrialDone):
            self._clock.tick(event.record)
            self._done, self._trials = event.done, event.trials
            grown = candidates([event.record], self._words.measured)
            self._members = Front([*self._members, *grown]).members
            self._console.print(
                Text(f"trial {event.record.number:>3}  ", style="dim")
                + Text(self._words.trial(event.record), style=_STYLES[event.record.state]),
                no_wrap=True,
                overflow="ellipsis",
            )
        elif isinstance(event, HopEnded):
            self._hops.pop(event.key, None)
            if event.teacher and event.accuracy is not None:
                found = f"accuracy {event.accuracy:.2%} of the validation part"
                self._console.print(Text(f"teacher {event.label}: {found}"))
        elif isinstance(event, Notice):
            self._console.print(Text(f"notice: {event.message}", style="yellow"))
        elif isinstance(event, SearchFinished):
            self._trial, self._done = f"finished: {event.reason}", event.done
            self._trials = max(self._trials, event.done)  # of a search that had nothing to do
        now = time.monotonic()
        if now - self._drawn > REDRAW_S or not isinstance(event, EpochDone):
            self._live.update(self._render(), refresh=True)
            self._drawn = now

    def _render(self) -> Group:
        grid = Table.grid(padding=(0, 2))
        left = self._clock.left(self._trials - self._done) if self._trials > self._done else "0 s"
        grid.add_row(
            "trials",
            ProgressBar(total=self._trials or 1, completed=self._done, width=20),
            f"{self._done}/{self._trials}",
            f"{left} left",
            Text(self._trial, style="bold", no_wrap=True, overflow="ellipsis"),
        )
        for epoch, epochs, words in self._hops.values():
            grid.add_row(
                "epochs",
                ProgressBar(total=epochs or 1, completed=epoch, width=20),
                f"{epoch}/{epochs}",
                "",
                Text(words, no_wrap=True, overflow="ellipsis"),
            )
        return Group("", grid, front_table(self._members, self._words))


_STYLES = {"complete": "", "pruned": "dim", "failed": "red"}


def front_table(members: tuple[Candidate, ...], words: Words) -> Table:
    """The front, most accurate first."""
    table = Table(title="front so far", title_justify="left", title_style="bold", box=None)
    for name in ("accuracy", "params", "latency, ms"):
        style = "cyan" if name == "accuracy" else ""
        table.add_column(name, justify="right", style=style, no_wrap=True)
    table.add_column("chain", no_wrap=True)
    table.add_column("trial", justify="right", style="dim", no_wrap=True)
    table.add_column("searched" if words.searched else "", style="dim", no_wrap=True)
    ranked = sorted(members, key=lambda c: -c.accuracy)
    for c in ranked[:FRONT_ROWS]:
        table.add_row(
            f"{c.accuracy:.2%}",
            f"{c.params:,}",
            f"{c.latency_ms:.4g}",
            c.label,
            str(c.trial),
            words.recipe(c.recipe),
        )
    if len(ranked) > FRONT_ROWS:
        table.add_row("", "", "", f"and {len(ranked) - FRONT_ROWS} more", "")
    return table
