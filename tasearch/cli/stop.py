"""Ctrl-C and other signals that ask a run to stop."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from os import _exit as end_process  # user code may replace os._exit
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from tasearch.cli.console import err, out
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.train.workers.processes import end_all

SHOW_CURSOR = b"\x1b[?25h"


class Stop:
    """Handles Ctrl-C, SIGTERM, and SIGHUP (a terminal that closes) while a run is going.

    The first signal asks for an end after the current epoch, and the second one ends the search at
    once; during the preparation the first one does. One more ends the process: user code may catch
    every exception, or never return from a call in C.

    Once it has raised KeyboardInterrupt, an error that leaves its context becomes one, too.

    Args:
        console: Where the live view is.

    Attributes:
        asked: Whether an end has been asked for.
        training: Whether the preparation is over; set by the caller.
    """

    def __init__(self, console: Console = out) -> None:
        self._console = console
        self.asked = False
        self.training = False
        self._later = False
        self._interrupted = False
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        numbers = [signal.SIGINT, signal.SIGTERM]
        # nohup has it ignored
        if os.name == "posix" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = self._arm(number)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._interrupted and isinstance(error, Exception):
            # a clean-up that an interrupt cut off may end with an error of its own
            raise KeyboardInterrupt from error

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """Delay a stop to the end of the block: imports that are cut off would fail later."""
        self._later = True
        yield
        self._later = False
        if self.asked:
            self._give_up()

    def _arm(self, number: int) -> Any:
        """Handle the next signal with this number.

        Python handles no signal during a call in C; then the system ends the process at the second
        one.

        Returns:
            The handler before.
        """
        before = signal.signal(number, self._ask)
        with contextlib.suppress(Exception):  # not every system has it
            once = ctypes.CDLL(None).sysv_signal  # it resets the handler when it is called
            once.argtypes, once.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
            once(number, once(number, int(signal.SIG_IGN)))
        return before

    def _give_up(self) -> None:
        err.print("stopped while preparing")
        self._interrupt()

    def _interrupt(self) -> NoReturn:
        self._interrupted = True
        raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._arm(number)
        self._count += 1
        if self._count > (2 if self.training else 1):
            end_all()
            if self._console.is_terminal:
                os.write(self._console.file.fileno(), SHOW_CURSOR)
            end_process(INTERRUPTED)
        if not self.training:
            self.asked = True
            if not self._later:
                self._give_up()
            return
        if self.asked:
            self._interrupt()
        self.asked = True
        # the live view would overwrite what another console prints
        where = self._console if self._console.is_terminal else err
        where.print("stopping after this epoch; once more to stop at once", soft_wrap=True)
