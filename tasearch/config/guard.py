"""A user's own functions in the process of the search, which must not end it unheard."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from tasearch.errors import StudyError, raised

_limit: float | None = None  # minutes


class _Exit(BaseException):
    """What a user's code would have ended the process with."""


@contextlib.contextmanager
def contained(where: str = "code that the study file names") -> Iterator[None]:
    """Have it told where a user's code ends the process, or raises what is no `Exception`.

    A fault within C, such as a segmentation fault, still ends the process. Ctrl-C goes its way.

    Args:
        where: whose code runs within, for messages.

    Raises:
        StudyError: where the code did so.
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
    """A call of a user's code takes too long."""


def limit_calls(minutes: float | None) -> None:
    """How long a call within `timely` may take from now on; None for ever."""
    global _limit
    _limit = minutes


@contextlib.contextmanager
def timely(where: str) -> Iterator[None]:
    """End a call of a user's code in this process that takes longer than `limit_calls` allows.

    It needs a timer of the system's, which only the main thread has, and cannot end a call in C
    that does not return when a signal comes.

    Args:
        where: What is called, for the message.

    Raises:
        StudyError: Where it takes longer.
    """
    main = threading.current_thread() is threading.main_thread()
    if _limit is None or not main or not hasattr(signal, "setitimer"):
        yield
        return
    if signal.getitimer(signal.ITIMER_REAL)[0]:  # within such a call, or one of the user's own
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
    """`os._exit` raises within this, but for processes that a user's code forks."""
    end, here = os._exit, os.getpid()

    def told(status: int) -> NoReturn:
        if os.getpid() == here:
            raise _Exit(status)
        end(status)

    os._exit = told
    try:
        yield
    finally:
        os._exit = end
