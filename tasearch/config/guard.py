"""Protection against code of the user's that exits, or does not return, in the main process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from tasearch.errors import StudyError, raised

_limit: float | None = None  # minutes that a call may take


class _Exit(BaseException):
    """Raised in place of ending the process, with the exit status."""


@contextlib.contextmanager
def contained(where: str = "code that the study file names") -> Iterator[None]:
    """Turn an exit, or an exception that is not an `Exception`, into a StudyError.

    A crash in C code, such as a segmentation fault, still ends the process. Ctrl-C is not changed.

    Args:
        where: The code that runs in the context, for messages.

    Raises:
        StudyError: If the code called `sys.exit` or `os._exit`, or raised such an exception.
    """
    try:
        with _exit_raises():
            yield
    except (Exception, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise StudyError(f"{where} called sys.exit({error.code!r})") from error
    except _Exit as error:
        raise StudyError(f"{where} called os._exit({error})") from error
    except BaseException as error:
        raise StudyError(f"{where} raised {raised(error)}") from error


class _Late(BaseException):
    """Raised within a call of a user's code that takes too long."""


def limit_calls(minutes: float | None) -> None:
    """Set the time that a call within `timely` may take from now on, in minutes; None: no limit."""
    global _limit
    _limit = minutes


@contextlib.contextmanager
def timely(where: str) -> Iterator[None]:
    """End a call of a user's code that takes longer than `limit_calls` allows.

    It uses a signal, which only the main thread receives. So there is no limit in other threads, on
    Windows, and within C code that signals do not interrupt.

    Args:
        where: The code that runs in the context, for the message.

    Raises:
        StudyError: If it takes too long.
    """
    main = threading.current_thread() is threading.main_thread()
    if _limit is None or not main or not hasattr(signal, "setitimer"):
        yield
        return
    if signal.getitimer(signal.ITIMER_REAL)[
        0
    ]:  # nested in such a call, or the user has set the timer
        yield
        return

    def late(*_: object) -> NoReturn:
        raise _Late

    minutes, before = _limit, signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        yield
    except _Late:
        words = f"made no progress for {minutes:g} minutes (training.stall_minutes)"
        raise StudyError(f"{where} {words}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


@contextlib.contextmanager
def _exit_raises() -> Iterator[None]:
    """Let `os._exit` raise, except in processes that the user's code forks."""
    end, process = os._exit, os.getpid()

    def raise_exit(status: int) -> NoReturn:
        if os.getpid() == process:
            raise _Exit(status)
        end(status)

    os._exit = raise_exit
    try:
        yield
    finally:
        os._exit = end
