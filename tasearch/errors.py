"""Every error that a user of tasearch can cause.

TasearchError
├── StudyError        the study file: a key, a type, a value
├── DataError         the data set: missing, broken, of a wrong shape
├── ModelError        a model: its build function, factory or checkpoint
├── RunError          a run directory: missing, of another study, in use
├── StoreError        a stored file: damaged, or cannot be written
├── TrainingError     a hop: its loss is not finite, or the user's code raised
│   └── OutOfMemoryError
├── ExportError       an export: its folder, or it differs from what was trained
└── NothingFits       no candidate is within the budget, or there is nothing to show yet

A message says what is wrong, where it is, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_ON_CPU = re.compile(  # of torch; the second words are those on Windows
    r"Allocator: (?:can't allocate|not enough) memory: you tried to allocate (\d+) bytes"
)
_ON_GPU = re.compile(r"CUDA out of memory\. Tried to allocate ([\d.]+ \w+)\.")
NOTHING_LOST = "nothing finished is lost, and the same command goes on"


class TasearchError(Exception):
    """Base class of all errors; the command line ends with `exit_code`."""

    exit_code = 2


class StudyError(TasearchError):
    """The study file breaks a rule."""


class DataError(TasearchError):
    """The data set is missing, broken or has a wrong shape."""


class ModelError(TasearchError):
    """A build function, factory or checkpoint breaks a rule."""


class RunError(TasearchError):
    """The run directory is missing, belongs to another study, or is in use."""


class StoreError(TasearchError):
    """A stored file is damaged, or could not be written."""


class TrainingError(TasearchError):
    """A hop could not be trained; the trials that need it fail, and the search goes on."""

    exit_code = 1


class OutOfMemoryError(TrainingError):
    """A hop needed more memory than there was; it may succeed if it is tried again."""


class ExportError(TasearchError):
    """The folder of an export is wrong, or its files differ from the trained student."""


class NothingFits(TasearchError):
    """No candidate is within the budget, or there is no finished student where one is needed."""

    exit_code = 1


def message(error: BaseException) -> str:
    """The message of an exception; empty if it cannot be read."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the class may be a user's, whose `__str__` may raise anything
        return ""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type if the message is empty.

    What torch's allocators say becomes plain words, see `memory_words`.

    Example:
        >>> first_line(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to "
        ...     "allocate 39600000000 bytes. Error code 12 (Cannot allocate memory)"))
        'needs 39.6 GB of memory, more than there is'
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", message(error)).strip()
    return memory_words(error) or next(iter(text.splitlines()), type(error).__name__)


def memory_words(error: BaseException) -> str:
    """What an error of torch's allocators says in plain words; empty for other errors."""
    text = message(error)
    on_cpu, on_gpu = _ON_CPU.search(text), _ON_GPU.match(text)
    if on_cpu:
        return f"needs {_size(int(on_cpu[1]))} of memory, more than there is"
    return f"needs {on_gpu[1]} of the GPU's memory, more than is free" if on_gpu else ""


def raised(error: BaseException) -> str:
    """An exception in one line: its type and message, such as `ValueError: no such file`."""
    name, said = type(error).__name__, first_line(error)
    return name if said == name else f"{name}: {said}"


def printable(text: str) -> str:
    """Text that is safe to print, whatever it comes from.

    Control characters and invisible characters become escapes, so that the text of a file or of a
    user's exception can neither move the cursor nor look like other text. Line ends and tabs stay.

    Example:
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return _escaped(text, keep="\n\t")


def shown(text: object) -> str:
    """A path or name that was not made here, in one line and without control characters."""
    return _escaped(str(text))


def short(text: str, most: int = 80) -> str:
    """Text of at most `most` characters: a longer one ends in three dots instead.

    Example:
        >>> short("a long name", 8)
        'a lon...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(value: object) -> str:
    """Any value in one short line for a message; strings are in quotes."""
    try:
        return short(repr(value[:80] if isinstance(value, str | bytes) else value))
    except Exception:  # too many digits, too deeply nested, or an object's own __repr__
        return f"one of type {type(value).__name__}"


def option(name: str) -> str:
    """An option of a run in a message, as a shell names it and as Python does.

    Example:
        >>> option("runs_dir")
        '--runs-dir (in Python runs_dir)'
    """
    return f"--{name.replace('_', '-')} (in Python {name})"


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the closest known name, or all of them.

    Example:
        >>> nearest("tpee", ["tpe", "ehvi"])
        "; did you mean 'tpe'?"
        >>> nearest("x", ["tpe", "ehvi"])
        '; known: ehvi, tpe'
    """
    names = sorted(known)
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return "; known: " + ", ".join(names)


def _size(count: int) -> str:
    """A number of bytes with three digits, in units of 1,000."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
    power = min((len(str(count)) - 1) // 3, len(units) - 1)
    return f"{float(f'{count / 1_000**power:.3g}'):g} {units[power]}"


def _escaped(text: str, keep: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)
