"""The folder of what can be made or fetched again: decoded images, downloads, copies of runs."""

from __future__ import annotations

import os
from pathlib import Path

from tasearch.errors import DataError

ADVICE = "set TASEARCH_CACHE to a folder of yours with room"

try:
    START = Path.cwd()  # a user's code may change the current folder later
except OSError:  # it was deleted
    START = Path("/")


def cache_folder() -> Path:
    """The absolute path of `$TASEARCH_CACHE`, else of `tasearch` in the user's cache folder.

    A relative path starts at the folder that was current when this process started.

    Raises:
        DataError: The user has no home folder.
    """
    own = os.environ.get("TASEARCH_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(shared) if shared else Path.home() / ".cache"
    except RuntimeError:
        if not own:
            raise DataError(f"the cache cannot be kept: no home folder; {ADVICE}") from None
    return START / (own if own else folder / "tasearch")
