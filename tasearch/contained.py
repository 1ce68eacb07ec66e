"""A user's own functions in the process of the search, which must not end it unheard."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

from tasearch.errors import StudyError, first_line


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


def raised(error: BaseException) -> str:
    """An exception in a line: `"ValueError: no such file"`."""
    return f"{type(error).__name__}: {first_line(error)}"


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
