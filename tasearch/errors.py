"""Every error that a user of tasearch can cause.

TasearchError
├── StudyError        the study file: a key, a type, a value
├── DataError         a data set: missing, broken, mis-shaped
├── ModelError        a build function, a factory, a checkpoint
├── RunError          a run directory: missing, of another study, in use
├── StoreError        a file of the store: damaged, or no room for it
├── TrainingError     a hop: a loss that is not finite, a user's code that raises
│   └── OutOfMemoryError
├── ExportError       an export's folder, or what was exported is not what was trained
└── NothingFits       no candidate within the budget

A message gives the rule, the value found and where it was found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class TasearchError(Exception):
    """Base of every error above; `exit_code` is what the command line ends with."""

    exit_code = 2


class StudyError(TasearchError):
    """The study file breaks a rule."""


class DataError(TasearchError):
    """The data set is missing, broken or mis-shaped."""


class ModelError(TasearchError):
    """A build function, factory or checkpoint does not keep its contract."""


class RunError(TasearchError):
    """The run directory is missing, belongs to another study, or is in use."""


class StoreError(TasearchError):
    """A stored file is damaged, or could not be written."""


class TrainingError(TasearchError):
    """A hop could not be trained; the trials that need it fail, the search goes on."""

    exit_code = 1


class OutOfMemoryError(TrainingError):
    """A hop needed more memory than there is; another time there may be more."""


class ExportError(TasearchError):
    """The folder of an export is wrong, or its files do not agree with the trained student."""


class NothingFits(TasearchError):
    """No candidate lies within the budget."""

    exit_code = 1


def message(error: BaseException) -> str:
    """An error's message; empty where it cannot be told."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the class may be a user's, and do anything
        return ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message(error)).strip()
    return next(iter(text.splitlines()), type(error).__name__)


def raised(error: BaseException) -> str:
    """An exception in a line: `"ValueError: no such file"`, or its type where it says nothing."""
    name, said = type(error).__name__, first_line(error)
    return name if said == name else f"{name}: {said}"


def printable(text: str) -> str:
    """Text with every character that a terminal would act on, or hide, written as an escape.

    Lines and tabs stay: whatever comes from a file, a foreign run or a user's exception may be
    printed, and can neither move the cursor nor pass for other words.
    """
    return _escaped(text, but="\n\t")


def shown(text: object) -> str:
    """A path or name from outside as one line of text without control characters."""
    return _escaped(str(text))


def short(text: str, most: int = 80) -> str:
    """Text of at most so many characters; of a longer one, its beginning and three dots."""
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(value: object) -> str:
    """A value of any kind as one short line for a message, strings in quotes."""
    try:
        return short(repr(value[:80] if isinstance(value, str | bytes) else value))
    except Exception:  # a number of too many digits, nesting too deep, an object's own __repr__
        return f"one of type {type(value).__name__}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known name closest to `word`, else the list of all."""
    names = sorted(known)
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return "; known: " + ", ".join(names)


def _escaped(text: str, but: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in but else repr(c)[1:-1] for c in text)
