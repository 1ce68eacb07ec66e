"""Reading files that a user names: regular ones only, for a FIFO or a device may never end."""

from __future__ import annotations

import stat
from pathlib import Path

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


def _words(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
    return f"is {kind}, not a file"
