"""Reading a file of a run as a value, with one message for whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tasearch.errors import RunError, StoreError, first_line
from tasearch.runs.seals import read_file

T = TypeVar("T")


def read_value(file: Path, make: Callable[[bytes], T], remedy: str) -> T:
    """A value made from a file's bytes.

    Args:
        file: Path of the file.
        make: Function from the bytes to the value; it may raise what a damaged file causes.
        remedy: What to do about a damaged file, for the message.

    Raises:
        FileNotFoundError: There is no such file.
        RunError: The file is damaged, or cannot be read.
    """
    try:
        return make(read_file(file))
    except FileNotFoundError:
        raise
    except StoreError as error:
        raise RunError(f"{file}: {error}; {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
        raise RunError(f"{file}: cannot be read: {words}; {remedy}") from None
