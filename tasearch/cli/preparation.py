"""A preparation in a terminal: the step that lasts, and the seconds of those before."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.status import Status

from tasearch.cli.console import err, out, print_line


class Preparation:
    """The steps of a preparation, on a line that is redrawn.

    Args:
        title: What is prepared, in words.
        status: The line.
        console: Where lines that stay are printed; None for nowhere.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        title: str,
        status: Status,
        console: Console | None = out,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._status, self._console, self._clock = title, status, console, clock
        self._begun = clock()
        self._seconds: dict[str, float] = {}
        self._name, self._since = "", self._begun
        if not err.is_terminal:
            self.say(title)

    def step(self, name: str) -> None:
        """Begin a step, which ends the one before."""
        self._end()
        self._name = name
        self._draw("")

    def decoded(self, done: int, total: int) -> None:
        """Show how many images of the data are decoded."""
        self._draw("" if done == total else f", decoded {done:,} of {total:,} images")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._console is None:
            return
        self._status.stop()  # it is on another stream, and may be in the middle of a line
        print_line(line, self._console)
        self._status.start()

    def end(self) -> None:
        """Print how long each step has taken."""
        self._end()
        self._status.stop()
        if self._console is not None:
            seconds = self._clock() - self._begun
            print_line(f"prepared in {seconds:.1f} s: {self._taken}", self._console)

    @property
    def _taken(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._seconds.items())

    def _end(self) -> None:
        now = self._clock()
        if self._name:
            self._seconds[self._name] = self._seconds.get(self._name, 0.0) + now - self._since
        self._name, self._since = "", now

    def _draw(self, more: str) -> None:
        taken = f" ({self._taken})" if self._taken else ""
        self._status.update(f"{self._title}: {self._name}{more}{taken}")
