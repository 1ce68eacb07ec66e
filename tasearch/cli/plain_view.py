"""A running search in lines, for pipes and files."""

from __future__ import annotations

from rich.console import Console

from tasearch.cli.search_state import SearchState
from tasearch.cli.words import hop_line
from tasearch.runs.events import Event, HopEnded, HopStarted, Notice, SearchFinished, TrialDone

TENTHS = 10  # a line on the progress is printed so many times


class PlainView:
    """Lines that begin with the seconds so far.

    Args:
        console: Where to print.
        state: The search.
    """

    def __init__(self, console: Console, state: SearchState) -> None:
        self._console, self._state = console, state

    def show(self, event: Event) -> None:
        """Show an event."""
        state = self._state
        before = state.done
        state.take(event)
        if isinstance(event, HopStarted):
            self._print(f"  {hop_line(state.words, event)}")
        elif isinstance(event, TrialDone):
            line = state.words.trial(event.record)
            self._print(f"[{event.done}/{event.trials}] trial {event.record.number}: {line}")
            tenth = TENTHS * state.done // state.trials
            if state.done > before and before * TENTHS // state.trials < tenth < TENTHS:
                self._print(f"{state.done} of {state.trials}: {state.outcome}; {state.left}")
        elif isinstance(event, HopEnded) and event.teacher and event.accuracy is not None:
            self._print(f"  teacher {event.label}: {state.words.metric.named(event.accuracy)}")
        elif isinstance(event, Notice):
            self._print(f"notice: {event.message}")
        elif isinstance(event, SearchFinished):
            self._print(f"finished: {event.reason}")

    def _print(self, line: str) -> None:
        self._console.print(f"{self._state.seconds:7.1f} s  {line}", soft_wrap=True)
