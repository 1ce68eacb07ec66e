"""One line on the progress of a search, redrawn in place: in a notebook or a terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

from tasearch.config.arguments import check_function
from tasearch.config.places import Place
from tasearch.errors import TasearchError
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.runs.events import EpochDone, Event, Notice, SearchFinished, TrialDone, TrialStarted
from tasearch.runs.records import TrialRecord
from tasearch.runs.run import Run

REDRAW_S = 0.1  # at least, between two lines


class ProgressLine:
    """The line; into a file or a pipe nothing is written.

    Args:
        name: The name of the run.
        on_event: Called with each event, too.
        shown: Whether there is a line.

    Attributes:
        run: The path of the run, whose earlier students count too; None before it is known.

    Raises:
        RunError: `on_event` is no function.
    """

    def __init__(
        self, name: str, on_event: Callable[[Event], None] | None = None, *, shown: bool = True
    ) -> None:
        check_function(on_event, "on_event")
        self._name, self._on_event = name, on_event
        self._write = _writer() if shown else None
        self._drawn, self._text = 0.0, ""
        self._done = self._trials = 0
        self._best: tuple[float, str] | None = None
        self.run: Place | None = None

    def __enter__(self) -> Self:
        self._show("preparing", now=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._write is not None:
            self._write(self._text, True)

    def read(self, done: int, total: int) -> None:
        """Show how many samples of a dataset are read."""
        self._show(f"{done:,} of {total:,} samples read", now=done == total)

    def take(self, event: Event) -> None:
        """Show an event, and pass it on."""
        if isinstance(event, TrialStarted | TrialDone):
            if not self._trials and event.done:
                self._compare_earlier()
            self._done, self._trials = event.done, event.trials
        if isinstance(event, TrialDone):
            if event.record.state == "complete":
                self._compare(event.record)
            self._show(self._trials_text, now=True)
        elif isinstance(event, EpochDone):
            epoch = f"{event.label}, epoch {event.epoch} of {event.epochs}"
            self._show(f"{self._trials_text}; {epoch}")
        elif isinstance(event, SearchFinished):
            self._show(f"{self._trials_text}; finished: {event.reason}", now=True)
        elif isinstance(event, Notice) and self._write is not None:
            self._write(f"notice: {event.message}", True)
        if self._on_event is not None:
            self._on_event(event)

    def _compare_earlier(self) -> None:
        """Compare the best student of an earlier search, if there is one that can be read."""
        if self.run is not None:
            with contextlib.suppress(TasearchError):
                for candidate in Run.open(self.run).front.candidates[:1]:
                    self._compare(candidate)

    def _compare(self, student: TrialRecord | Candidate) -> None:
        accuracy = student.accuracy
        if accuracy is not None and (self._best is None or accuracy > self._best[0]):
            self._best = accuracy, student.label

    @property
    def _trials_text(self) -> str:
        words = f"; best {self._best[1]}: {self._metric.text(self._best[0])}" if self._best else ""
        return f"{self._done} of {self._trials} trials{words}"

    @cached_property
    def _metric(self) -> Metric:
        """What the students of the run are compared by."""
        with contextlib.suppress(TasearchError):
            return Run.open(self.run).metric if self.run is not None else ACCURACY
        return ACCURACY

    def _show(self, words: str, *, now: bool = False) -> None:
        self._text = f"{self._name}: {words}"
        if self._write is not None and (now or time.monotonic() - self._drawn > REDRAW_S):
            self._write(self._text, False)
            self._drawn = time.monotonic()


def _writer() -> Callable[[str, bool], None] | None:
    """A function that draws a line in place of the last one; None for a file.

    It is called with the line, and with whether this one stays and another one begins.
    """
    if "IPython" in sys.modules:
        from IPython import get_ipython

        if getattr(get_ipython(), "kernel", None) is not None:
            return _in_notebook()
    return _on_terminal if sys.stderr.isatty() else None


def _on_terminal(text: str, stays: bool) -> None:
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write(f"\r{text[:width]:<{width}}" + "\n" * stays)
    sys.stderr.flush()


def _in_notebook() -> Callable[[str, bool], None]:
    """A line that is one output of its cell."""
    from IPython import display

    show: Callable[..., Any] = display.display
    handle: Any = None

    def write(text: str, stays: bool) -> None:
        nonlocal handle
        bundle = {"text/plain": text}
        if handle is None:
            handle = show(bundle, raw=True, display_id=True)
        else:
            handle.update(bundle, raw=True)
        handle = None if stays else handle

    return write
