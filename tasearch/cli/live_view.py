"""A running search on a terminal, redrawn in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasearch.cli.search_state import HopState, SearchState
from tasearch.cli.words import Words
from tasearch.pareto.front import Front
from tasearch.pareto.metric import Metric
from tasearch.runs.events import EpochDone, Event, HopEnded, Notice, TrialDone
from tasearch.runs.records import TrialRecord

FRONT_ROWS = 12
REDRAW_S = 0.1  # at least, between two epochs that are shown
STYLES = {"complete": "", "pruned": "dim", "failed": "red"}


class Redrawn:
    """A part of the terminal that is redrawn in place as events come in.

    Args:
        console: The terminal.
        render: Function that returns what is shown now.
        transient: Whether nothing of it stays at the end.
    """

    def __init__(
        self, console: Console, render: Callable[[], Group], *, transient: bool = False
    ) -> None:
        self._render, self._drawn = render, 0.0
        # without a thread that draws, else lines get lost
        self._live = Live(render(), console=console, auto_refresh=False, transient=transient)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.update(self._render(), refresh=True)
        self._live.stop()

    def after(self, event: Event) -> None:
        """Redraw after an event; epochs that follow each other quickly share a drawing."""
        now = time.monotonic()
        if now - self._drawn > REDRAW_S or not isinstance(event, EpochDone):
            self._live.update(self._render(), refresh=True)
            self._drawn = now


class LiveView:
    """Trials, the hops in training, time left and the front.

    Args:
        console: The terminal.
        state: The search.
    """

    def __init__(self, console: Console, state: SearchState) -> None:
        self._console, self._state = console, state
        self._redrawn = Redrawn(console, self.render)

    def __enter__(self) -> Self:
        self._redrawn.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._state.hops.clear()
        self._redrawn.__exit__(*error)

    def show(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        if isinstance(event, TrialDone):
            self._console.print(trial_line(self._state.words, event.record))
        elif isinstance(event, HopEnded):
            if event.teacher and event.accuracy is not None:
                found = f"{self._state.words.metric.named(event.accuracy)} of the validation part"
                self._console.print(Text(f"teacher {event.label}: {found}"))
        elif isinstance(event, Notice):
            self._console.print(Text(f"notice: {event.message}", style="yellow"))
        self._redrawn.after(event)

    def render(self) -> Group:
        """What the terminal shows now."""
        state = self._state
        head = Table.grid(padding=(0, 2))
        head.add_column(width=8, no_wrap=True)
        head.add_column(overflow="fold")
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=state.trials or 1, completed=state.done, width=20),
            f"{state.done}/{state.trials}",
            Text(state.left, style="bold"),
        )
        head.add_row("trials", bar)
        for name, words in (("", state.outcome), ("best", state.best), ("", state.finished)):
            if words:
                head.add_row(name, Text(words))
        rows = self._console.height - len(state.hops) - 10
        table = front_table(state.front, state.words, min(FRONT_ROWS, max(3, rows)))
        return Group("", head, hops_table(state.hops, state.words.metric), table)


def hops_table(hops: Mapping[str, HopState], metric: Metric) -> Table:
    """The hops in training: epochs, loss and last known accuracy of each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=8, no_wrap=True)
    table.add_column(overflow="fold")
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    for hop in hops.values():
        table.add_row(
            "training" if hop.epochs else "loading",
            Text(hop.words),
            f"epoch {hop.epoch}/{hop.epochs}" if hop.epochs else "",
            "" if hop.loss is None else f"loss {hop.loss:.3f}",
            "" if hop.accuracy is None else metric.text(hop.accuracy),
        )
    return table


def trial_line(words: Words, record: TrialRecord) -> Table:
    """A finished trial; what is longer than the line goes on below its chain."""
    table = Table.grid(padding=(0, 2))
    measured = words.measured.get(record.chain[-1]) if record.chain else None
    cells = [f"{record.number:>3}", f"{record.state:<8}"]
    if record.accuracy is not None and measured is not None:
        cells += [f"{words.metric.text(record.accuracy):>6}", f"{measured.params:>8,}"]
        cells += [f"{measured.latency_ms:>6.4g} ms"]
    for _ in cells:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    style, chain = STYLES[record.state], words.chain(record, reasons=("failed",))
    table.add_row(*(Text(cell, style=style) for cell in (*cells, chain)))
    return table


def front_table(front: Front, words: Words, rows: int = FRONT_ROWS) -> Table:
    """The front, most accurate first; searched fields of recipes go on below each other.

    Args:
        front: The front.
        words: The words for its trials.
        rows: Most rows that are shown.
    """
    table = Table(title="front so far", title_justify="left", title_style="bold", box=None)
    for name in ("accuracy", "params", "ms"):
        style = "cyan" if name == "accuracy" else ""
        head = words.metric.words if name == "accuracy" else name
        table.add_column(head, justify="right", style=style, no_wrap=True)
    table.add_column("chain", overflow="fold", min_width=len("64 → 48 → 32"))
    table.add_column("trial", justify="right", style="dim", no_wrap=True)
    table.add_column("searched" if words.searched else "", style="dim", overflow="fold")
    ranked = sorted(front.members, key=lambda c: -c.accuracy)
    for c in ranked[:rows]:
        table.add_row(
            words.metric.text(c.accuracy),
            f"{c.params:,}",
            f"{c.latency_ms:.4g}",
            c.label,
            str(c.trial),
            words.recipe(c.recipe),
        )
    if len(ranked) > rows:
        table.add_row("", "", "", f"and {len(ranked) - rows} more", "")
    return table
