"""Detects files of a run that are removed, moved or replaced while it is searched."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

from tasearch.errors import RunError, TasearchError
from tasearch.runs.directory import REMEDY, RunDirectory
from tasearch.runs.events import Event, HopEnded
from tasearch.runs.journal import read_trials

WATCHED = ("", "run.json", "journal.log")


def watched(run: RunDirectory, events: Iterator[Event]) -> Generator[Event, None, None]:
    """The events of a search, which ends with one message if a file that it needs disappears.

    Without this check a search would continue with what it has in memory, write a new folder in
    place of one that was moved, and fail later with another message.

    Args:
        run: The directory of the run that is searched.
        events: The events of the search.

    Raises:
        RunError: A file is missing, or is another file than before.
    """
    seen: dict[str, int] = {}
    hops = [*(run.path / "hops").glob("*.safetensors")]
    try:
        for event in events:
            if isinstance(event, HopEnded) and event.outcome == "complete":
                hops.append(run.path / "hops" / f"{event.key}.safetensors")
            _check(run, seen)
            run.check_held()
            yield event
    except RunError:
        raise
    except Exception as error:
        _check(run, seen)
        for hop in hops:
            if not hop.exists():
                raise _missing(hop) from None
        if not isinstance(error, TasearchError):
            read_trials(run)  # raises if the study was renamed, deleted or replaced
        raise
    finally:
        close = getattr(events, "close", lambda: None)
        with contextlib.suppress(RunError):  # the missing file has been reported already
            close()


def _check(run: RunDirectory, seen: dict[str, int]) -> None:
    """Compare the inodes of the watched files with those of the first time that they were seen.

    Args:
        run: The directory of the run.
        seen: Inodes by name, which are added when first seen.

    Raises:
        RunError: A file is missing, or is another file than before.
    """
    for name in WATCHED:
        path = run.path / name if name else run.path
        try:
            inode = path.stat().st_ino
        except OSError:
            inode = -1
        if seen.get(name, inode) != inode:
            raise _missing(path)
        if inode >= 0:
            seen[name] = inode


def _missing(path: Path) -> RunError:
    return RunError(f"{path}: was removed, moved or replaced while the run was going; {REMEDY}")
