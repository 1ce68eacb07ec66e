"""Files: read only if they are regular files, written atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from io import BufferedReader
from pathlib import Path

from tasearch.errors import StoreError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_TEMPORARY = re.compile(r"\.tasearch-[0-9a-f]{16}\.tmp")


def not_regular(path: Path) -> str | None:
    """What is at a path instead of a regular file; nothing is opened.

    Args:
        path: A path; links are followed.

    Returns:
        The end of a message that begins with the path, such as "is a FIFO, not a file"; None for a
        regular file, or if nothing can be found out (reading the file then tells why).
    """
    try:
        return _words(path.stat().st_mode)
    except ValueError:  # raised for a NUL, and for characters that cannot be encoded
        return "has a NUL in its name" if "\0" in str(path) else "has a name that no file can have"
    except OSError:
        return None


def check_regular(path: Path) -> None:
    """Refuse anything but a regular file.

    Args:
        path: A path; links are followed.

    Raises:
        OSError: If there is no regular file; `strerror` says what there is. FileNotFoundError and
            PermissionError are those of the system.
    """
    words = not_regular(path)
    if words is not None:
        raise OSError(errno.EINVAL, words)
    path.stat()


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    It never waits, not even if a FIFO takes the file's place after the check.

    Args:
        path: A path; links are followed.

    Raises:
        OSError: If there is no regular file, as in `check_regular`.
    """
    return open(_descriptor(path), "rb")


def read_regular(path: Path) -> bytes:
    """The content of a regular file; of many small ones quicker than by `open_regular`.

    Args:
        path: A path; links are followed.

    Raises:
        OSError: If there is no regular file, as in `check_regular`.
    """
    with open(_descriptor(path), "rb", buffering=0) as file:
        return file.readall()


def _descriptor(path: Path) -> int:
    """The descriptor of a regular file, opened for reading."""
    check_regular(path)
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    words = _words(os.fstat(file).st_mode)
    if words is not None:
        os.close(file)
        raise OSError(errno.EINVAL, words)
    return file


def _words(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    return f"is {kind}, not a file"


def is_temporary(file: Path) -> bool:
    """Whether a file is one that `write_atomic` left behind because its process was killed."""
    return bool(_TEMPORARY.fullmatch(file.name)) and file.is_file() and not file.is_symlink()


def write_atomic(file: Path, content: bytes) -> None:
    """Write a file so that it is complete or does not exist, even after a crash.

    Args:
        file: The file, which is replaced if it exists. Missing folders are made.
        content: Its whole content.

    Raises:
        StoreError: If it cannot be written.
    """
    temporary = file.with_name(f".tasearch-{secrets.token_hex(8)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:  # mkstemp's files only their owner could read
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise write_error(file, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_error(file: Path, error: OSError) -> StoreError:
    """The error to raise for a write that failed.

    Args:
        file: The file that was being written.
        error: What the system raised.
    """
    if error.errno in NO_ROOM:
        return StoreError(
            f"{file}: no room left on the disk; what is finished is kept, "
            f"make room and run the same command again"
        )
    return StoreError(f"{file}: cannot be written: {error.strerror or error}")
