"""events.jsonl: every search, and every hop's start and end with seconds. No result depends on it,
so a line that is damaged is named and left out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasearch.errors import first_line
from tasearch.runs.seals import Fit, Log, read_file, read_log
from tasearch.config.files import no_room

KIND = "events"


@dataclass(frozen=True, kw_only=True)
class History:
    """What an event log tells.

    Args:
        events: the sound lines, in order.
        damage: what is wrong with the file, in words; empty where nothing is.
    """

    events: list[dict[str, Any]]
    damage: str = ""

    @property
    def target(self) -> int | None:
        """Trials that the last search was asked for."""
        return next((e["trials"] for e in reversed(self.events) if e["event"] == "search"), None)

    @property
    def finished(self) -> dict[str, Any] | None:
        """The last event, where it is the end of a search."""
        ended = self.events and self.events[-1]["event"] == "finished"
        return self.events[-1] if ended else None

    @property
    def seconds(self) -> float:
        """That searches took so far, as far as the sound lines tell."""
        spent = start = last = 0.0
        number = 0
        for event in self.events:
            # where lines are missing, one of them may have begun another search
            if event["event"] == "search" or event["line"] != number + 1:
                spent, start = spent + last - start, event["time"]
            last, number = event["time"], event["line"]
        return spent + last - start


class EventLog:
    """The event log of a run; one process writes it at a time.

    Args:
        file: events.jsonl, which need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._end: Log | None = None  # what this process knows of the file

    def append(self, event: str, values: dict[str, Any]) -> None:
        """Write one line.

        Raises:
            StoreError: where it cannot be written.
        """
        try:
            log = self._state()
            line = log.chain.seal({"event": event, "time": round(time.time(), 3), **values})
            with self._file.open("r+b" if self._file.exists() else "xb") as stream:
                stream.truncate(log.size)  # of a line that a kill tore
                stream.seek(log.size)
                stream.write(line)
        except OSError as error:
            self._end = None  # part of the line may be there
            raise no_room(self._file, error) from None
        self._end = Log(lines=[], damage=[], chain=log.chain, size=log.size + len(line))

    def read(self) -> History:
        """All that can be read; nothing where there is no file."""
        try:
            log = read_log(KIND, read_file(self._file))
        except FileNotFoundError:
            return History(events=[])
        except OSError as error:
            return History(events=[], damage=f"{self._file}: {error.strerror or first_line(error)}")
        return History(events=log.lines, damage=self._words(log.damage))

    def _state(self) -> Log:
        """Of the file as it is now."""
        size = self._file.stat().st_size if self._file.exists() else 0
        if self._end is None or self._end.size != size:
            self._end = read_log(KIND, read_file(self._file) if size else b"")
        return self._end

    def _words(self, damage: list[tuple[int, Fit]]) -> str:
        if not damage:
            return ""
        (place, fit), *others = damage
        more = f", and {len(others)} more line{'s' * (len(others) > 1)}" if others else ""
        return f"{self._file}: line {place} {fit.value}{more}"
