"""Exit codes: the only place where errors become messages."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.text import Text

from tasearch.cli.console import err
from tasearch.cli.strict import UsageError
from tasearch.config.files import NO_ROOM, write_error
from tasearch.errors import TasearchError, first_line, memory_words, printable, raised, short

INTERRUPTED = 130
NO_READER = 141  # as a shell shows a process that ended by SIGPIPE
UNFORESEEN = 70  # EX_SOFTWARE of sysexits.h: a bug in tasearch
DEBUG = "TASEARCH_DEBUG"


def exit_code(command: Callable[[], int]) -> int:
    """Run a command, and print one message if it fails.

    Args:
        command: The command, which returns an exit code.

    Returns:
        The code to end with: 0; 1 if nothing fits or training failed; 2 for wrong input and other
        errors that a user or the system can cause; 70 for a bug in tasearch; 130 after Ctrl-C; 141
        if the reader of the output has closed it.
    """
    try:
        return _code(command)
    except OSError as error:  # from an output that is closed, or full (and stderr as well)
        return NO_READER if isinstance(error, BrokenPipeError) else 2
    finally:
        _drop_what_is_refused()


def _code(command: Callable[[], int]) -> int:
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except TasearchError as error:
        return _say(str(error), error.exit_code, error)
    except UsageError as error:
        message = _usage(error)  # empty if the help was shown instead
        return _say(message, 2, error) if message else 2
    except OSError as error:  # from the system: disk full, no permission, a name too long
        return _say(system_error(error), 2, error)
    except MemoryError as error:
        return _say("there is not enough memory for this", 2, error)
    except SystemExit as error:  # only user code raises it
        if isinstance(error.__context__, BrokenPipeError):  # from the help, which typer prints
            return NO_READER
        return _say(f"code that the study file names called sys.exit({error.code!r})", 2, error)
    except BaseException as error:
        if memory_words(error):
            return _say(f"this {memory_words(error)}", 2, error)
        words = raised(error)
        hint = "" if os.environ.get(DEBUG) else f"; {DEBUG}=1 shows where"
        return _say(f"unforeseen, please report it: {words}{hint}", UNFORESEEN, error)


def system_error(error: OSError) -> str:
    """The message for an error of the system, which may be one of reading or of writing."""
    file = error.filename if error.filename is not None else "the system"
    if isinstance(file, bytes):
        file = os.fsdecode(file)
    if error.errno in NO_ROOM:
        return str(write_error(Path(str(file)), error))
    return f"{file}: {error.strerror or first_line(error)}"


def make_streams_safe() -> None:
    """Print letters that the console's encoding lacks as question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say(message: str, code: int, error: BaseException) -> int:
    if os.environ.get(DEBUG):
        err.print("".join(traceback.format_exception(error)), soft_wrap=True)
    err.print(Text("error: ", style="bold red") + Text(printable(message)), soft_wrap=True)
    return code


def _usage(error: Any) -> str:
    """The message of a usage error, with the command whose help says more."""
    context = getattr(error, "ctx", None)
    message = short(error.format_message(), 400)
    if context is None or not message:
        return message
    return f"{message.rstrip('.')}; see {context.command_path} --help"


def _drop_what_is_refused() -> None:
    """Discard what an output does not accept, or Python would report it at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
