"""Files of a run that are removed, moved or replaced while it is searched, told in one message."""

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
    """The events of a search, which ends where a file that it needs has gone.

    Without this a search goes on with what it knows, writes a folder anew that somebody has moved,
    and fails later in words of its own.

    Args:
        run: The run that is searched.
        events: The events of `tasearch.search.driver.search`.

    Raises:
        RunError: where something has gone, or is another file than before.
    """
    seen: dict[str, int] = {}
    hops = [*(run.path / "hops").glob("*.safetensors")]
    try:
        for event in events:
            if isinstance(event, HopEnded) and event.outcome == "complete":
                hops.append(run.path / "hops" / f"{event.key}.safetensors")
            _check(run, seen)
            yield event
    except RunError:
        raise
    except Exception as error:
        _check(run, seen)
        for hop in hops:
            if not hop.exists():
                raise _gone(hop) from None
        if not isinstance(error, TasearchError):
            read_trials(run)  # tells where the study was renamed, deleted or replaced
        raise
    finally:
        close = getattr(events, "close", lambda: None)
        with contextlib.suppress(RunError):  # of what has gone, which is told already
            close()


def _check(run: RunDirectory, seen: dict[str, int]) -> None:
    """Compare the inodes of what is there with those of before, which are noted when first seen."""
    for name in WATCHED:
        path = run.path / name if name else run.path
        try:
            inode = path.stat().st_ino
        except OSError:
            inode = -1
        if seen.get(name, inode) != inode:
            raise _gone(path)
        if inode >= 0:
            seen[name] = inode


def _gone(path: Path) -> RunError:
    return RunError(f"{path}: was removed, moved or replaced while the run was going; {REMEDY}")
