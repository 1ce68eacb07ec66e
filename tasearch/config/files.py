"""Files: read only where they are regular, written atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from tasearch.errors import StoreError

if TYPE_CHECKING:
    pass


KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def not_regular(path: Path) -> str | None:
    """What stands at a path in place of a regular file; nothing is opened.

    Args:
        path: A path, links in it are followed.

    Returns:
        Words to put behind the path, such as "is a FIFO, not a file" or "has a NUL in its name";
        None for a regular file, and where nothing can be found out (reading it then says why).
    """
    try:
        return _words(path.stat().st_mode)
    except ValueError:  # from stat: "embedded null byte", or letters that cannot be encoded
        return "has a NUL in its name" if "\0" in str(path) else "has a name that no file can have"
    except OSError:
        return None


def check_regular(path: Path) -> None:
    """Refuse what is no regular file.

    Raises:
        OSError: Its `strerror` says what is there, or why nothing can be: FileNotFoundError and
            PermissionError as the system raises them.
    """
    words = not_regular(path)
    if words is not None:
        raise OSError(errno.EINVAL, words)
    path.stat()


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; never waits, whatever comes to stand there meanwhile.

    Raises:
        OSError: As `check_regular` does.
    """
    check_regular(path)
    waits_not = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(os.open(path, waits_not), "rb")  # noqa: PTH123, SIM115
    words = _words(os.fstat(file.fileno()).st_mode)
    if words is not None:
        file.close()
        raise OSError(errno.EINVAL, words)
    return file


def _words(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
    return f"is {kind}, not a file"


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r"\.tasearch-[0-9a-f]{16}\.tmp")


def is_temporary(file: Path) -> bool:
    """Whether a file is what `write_atomic` left when it was killed."""
    return bool(_TEMPORARY.fullmatch(file.name)) and file.is_file() and not file.is_symlink()


def write_atomic(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    Raises:
        StoreError: where it cannot be written.
    """
    temporary = file.with_name(f".tasearch-{secrets.token_hex(8)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:  # not mkstemp, whose files nobody else may read
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise no_room(file, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def no_room(file: Path, error: OSError) -> StoreError:
    """The message for a write that failed."""
    if error.errno in NO_ROOM:
        return StoreError(
            f"{file}: no room left on the disk; what is finished is kept, "
            f"make room and run the same command again"
        )
    return StoreError(f"{file}: cannot be written: {error.strerror or error}")
