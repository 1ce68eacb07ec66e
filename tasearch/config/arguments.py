"""Checks of arguments, made before anything slow is imported or measured.

Each check takes the argument's name for its message: `device` in Python, `--device` in a shell.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from tasearch.config.files import not_regular
from tasearch.config.values import MOST_TRIALS
from tasearch.errors import RunError, TasearchError, quoted, shown
from tasearch.pareto.budget import Budget

DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("local", "ray")
FIGURES = (".png", ".svg", ".html", ".json")  # endings of a figure's file
MOST_WORKERS = 1_024

Error = type[TasearchError]
_ADDRESS = re.compile(r"[A-Za-z0-9_.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")


def check_device(value: object, name: str = "device") -> str:
    """Check the name of a device.

    Args:
        value: The value of the argument.
        name: The argument's name, for the message.

    Returns:
        The value.

    Raises:
        RunError: If it is not the name of a device.
    """
    if not isinstance(value, str) or value not in DEVICES:
        raise RunError(f'{name}: should be "auto", "cpu" or "cuda", found {quoted(value)}')
    return value


def check_engine(value: object, address: object, name: str, address_name: str) -> None:
    """Check the name of an engine, and the address of a cluster.

    Args:
        value: The engine: "local" or "ray".
        address: "auto", HOST:PORT, or None.
        name: The first argument's name, for the message.
        address_name: The second argument's name.

    Raises:
        RunError: There is no such engine, it has no address, or the address is none.
    """
    if value not in ENGINES:
        raise RunError(f'{name}: should be "local" or "ray", found {quoted(value)}')
    if address is None:
        return
    if value != "ray":
        raise RunError(f"{address_name}: goes with {name} ray")
    if address != "auto" and not (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        raise RunError(
            f'{address_name}: should be "auto" or HOST:PORT, such as 10.0.0.1:6379, found '
            f"{quoted(address)}"
        )


def check_workers(value: object, name: str = "workers") -> int | str:
    """Check a number of workers.

    Args:
        value: The value of the argument: a number, also as text, or "auto".
        name: The argument's name, for the message.

    Returns:
        The value.

    Raises:
        RunError: If it is neither.
    """
    number = value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        number = int(value)
    if value == "auto" or (_is_int(number) and 1 <= number <= MOST_WORKERS):  # type: ignore[operator]
        return value  # type: ignore[return-value]
    rule = f'should be "auto" or a number from 1 to {MOST_WORKERS:,}'
    raise RunError(f"{name}: {rule}, found {quoted(value)}")


def check_trials(value: object, name: str = "trials") -> int:
    """Check a number of trials.

    Args:
        value: The value of the argument.
        name: The argument's name, for the message.

    Returns:
        The value.

    Raises:
        RunError: If it is not such a number.
    """
    if not _is_int(value) or not 1 <= value <= MOST_TRIALS:  # type: ignore[operator]
        rule = f"should be a number from 1 to {MOST_TRIALS:,}"
        raise RunError(f"{name}: {rule}, found {quoted(value)}")
    return value  # type: ignore[return-value]


def check_function(value: object, name: str) -> None:
    """Refuse what cannot be called; None is no function, and allowed.

    Args:
        value: The argument.
        name: Its name in a message.

    Raises:
        RunError: It is neither None nor a function.
    """
    if value is not None and not callable(value):
        raise RunError(f"{name}: should be a function, found {quoted(value)}")


def front_or_budget(front: bool, budget: Budget, name: str = "front") -> Budget | None:
    """The budget whose best student is confirmed; None for the whole front.

    Args:
        front: Whether the whole front is asked for.
        budget: The budget that is asked for.
        name: Name of the argument in a message.

    Raises:
        RunError: Both are asked for.
    """
    if front and budget != Budget():
        raise RunError(f"{name}: goes without a budget")
    return None if front else budget


def check_path(value: object, name: str, error: Error = RunError) -> Path:
    """Check a path, which need not exist.

    Args:
        value: The value of the argument: a str, or an `os.PathLike` of one.
        name: The argument's name, for the message.
        error: The class of the error to raise.

    Returns:
        The path.

    Raises:
        TasearchError: If no file could have this path; it is of the class `error`.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise error(f"{name}: should be a path (str or pathlib.Path), found {quoted(value)}")
    if not text:
        raise error(f"{name}: should be a path, found ''")
    if "\0" in text:
        raise error(f"{name}: should have no NUL, found {quoted(text)}")
    return Path(text)


def check_utf8(folder: Path, name: str, error: Error = RunError) -> None:
    """Refuse a folder whose absolute path is not valid UTF-8, since a run stores it as text.

    Args:
        folder: The folder, which need not exist.
        name: The argument's name, for the message.
        error: The class of the error to raise.

    Raises:
        TasearchError: If a byte of the path is not UTF-8; it is of the class `error`.
    """
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise error(
            f"{name}: {shown(folder.absolute())}: should be named in UTF-8; rename the folder"
        ) from None


def check_folder(folder: Path, name: str, error: Error = RunError) -> None:
    """Refuse a folder that cannot be written to, or cannot be made; nothing is made.

    Args:
        folder: The folder, which need not exist.
        name: The argument's name, for the message; empty if none was given.
        error: The class of the error to raise.

    Raises:
        TasearchError: If it cannot be used; it is of the class `error`.
    """
    where = f"{name}: " if name else ""
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if place.is_symlink():
                raise error(f"{where}{place}: is a link to nothing") from None
            continue
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or problem
            raise error(f"{where}{place}: cannot be used: {why}") from None
        if not stat.S_ISDIR(mode):
            raise error(f"{where}{place}: is no folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise error(f"{where}{place}: cannot be written to: {_refusal(place)}")
        return


def _refusal(folder: Path) -> str:
    """Why the system lets nothing be written to a folder."""
    state = os.statvfs(folder) if hasattr(os, "statvfs") else None  # not there on Windows
    if state is not None and state.f_flag & os.ST_RDONLY:
        return "its disk is read-only"
    return "no permission"


def check_page(page: Path, name: str = "--out") -> None:
    """Refuse a file for a page of HTML that has another suffix, or cannot be written.

    Args:
        page: The file, which need not exist.
        name: The argument's name, for the message; empty if none was given.

    Raises:
        RunError: If its name does not end in .html or .htm, if something else than a file is there,
            or if its folder cannot be written to.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise RunError(
            f"{name}: should end in .html or .htm, for it is a page of HTML, found {str(page)!r}; "
            f"`tasearch plot` writes single figures, as images too"
        )
    _check_file(page, name)


def check_figure(file: Path, name: str = "--out") -> str:
    """Refuse a file for a figure that has an unknown suffix, or cannot be written.

    Args:
        file: The file, which need not exist.
        name: The argument's name, for the message.

    Returns:
        The suffix in small letters, which says what is written.

    Raises:
        RunError: If its name does not end in one of `FIGURES`, if something else than a file is
            there, or if its folder cannot be written to.
    """
    ending = file.suffix.lower()
    if ending not in FIGURES:
        rule = f"should end in {', '.join(FIGURES[:-1])} or {FIGURES[-1]}"
        raise RunError(f"{name}: {rule}, found {str(file)!r}")
    _check_file(file, name)
    return ending


def _check_file(file: Path, name: str) -> None:
    """Refuse a file that cannot be written."""
    words = not_regular(file)
    if words is not None:
        raise RunError(f"{name}: {file}: {words}" if name else f"{file}: {words}")
    check_folder(file.parent, name)


def check_choice(value: str, choices: Sequence[str], name: str) -> None:
    """Refuse a value that is none of several names.

    Args:
        value: The value of the argument.
        choices: The names.
        name: The argument's name, for the message.

    Raises:
        RunError: It is none of them; the message lists them.
    """
    if value not in choices:
        rule = f"should be {', '.join(choices[:-1])} or {choices[-1]}"
        raise RunError(f"{name}: {rule}, found {quoted(value)}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
