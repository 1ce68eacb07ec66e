"""events.jsonl: when each search and each hop started and ended.

No result depends on it, so a damaged line is reported and left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasearch.config.files import write_error
from tasearch.errors import first_line
from tasearch.runs.seals import LineStatus, Log, read_file, read_log

KIND = "events"


@dataclass(frozen=True, kw_only=True)
class History:
    """The content of an event log.

    Args:
        events: The undamaged lines, in order.
        damage: What is wrong with the file, in words; empty if nothing is.
    """

    events: list[dict[str, Any]]
    damage: str = ""

    @property
    def target(self) -> int | None:
        """Number of trials that the last search was asked for; None if no search is known."""
        return next((e["trials"] for e in reversed(self.events) if e["event"] == "search"), None)

    @property
    def finished(self) -> dict[str, Any] | None:
        """The last event, if it is the end of a search."""
        ended = self.events and self.events[-1]["event"] == "finished"
        return self.events[-1] if ended else None

    def timed(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """Each event after the seconds that all searches had taken by then.

        The seconds are a lower bound where lines are missing.
        """
        spent = start = last = 0.0
        number = 0
        for event in self.events:
            # a missing line may have been the start of another search
            if event["event"] == "search" or event["line"] != number + 1:
                spent, start = spent + last - start, event["time"]
            last, number = event["time"], event["line"]
            yield spent + last - start, event

    @property
    def seconds(self) -> float:
        """Seconds that all searches of the run took; a lower bound where lines are missing."""
        return max((seconds for seconds, _ in self.timed()), default=0.0)


class EventLog:
    """The event log of a run; only one process at a time may write it.

    Args:
        file: Path of events.jsonl, which may be missing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._end: Log | None = None  # the file as this process knows it

    def append(self, event: str, values: dict[str, Any]) -> None:
        """Write one line.

        Args:
            event: Name of the event.
            values: More keys of the line.

        Raises:
            StoreError: The line cannot be written.
        """
        try:
            log = self._current()
            line = log.chain.seal({"event": event, "time": round(time.time(), 3), **values})
            with self._file.open("r+b" if self._file.exists() else "xb") as stream:
                stream.truncate(log.size)  # removes a line that a kill left unfinished
                stream.seek(log.size)
                stream.write(line)
        except OSError as error:
            self._end = None  # a part of the line may be in the file
            raise write_error(self._file, error) from None
        self._end = Log(lines=[], damage=[], chain=log.chain, size=log.size + len(line))

    def read(self) -> History:
        """All that can be read; an empty history if the file is missing."""
        try:
            log = read_log(KIND, read_file(self._file))
        except FileNotFoundError:
            return History(events=[])
        except OSError as error:
            return History(events=[], damage=f"{self._file}: {error.strerror or first_line(error)}")
        return History(events=log.lines, damage=self._in_words(log.damage))

    def _current(self) -> Log:
        """The log as it is in the file now."""
        size = self._file.stat().st_size if self._file.exists() else 0
        if self._end is None or self._end.size != size:
            self._end = read_log(KIND, read_file(self._file) if size else b"")
        return self._end

    def _in_words(self, damage: list[tuple[int, LineStatus]]) -> str:
        if not damage:
            return ""
        (number, status), *others = damage
        more = f", and {len(others)} more line{'s' * (len(others) > 1)}" if others else ""
        return f"{self._file}: line {number} {status.value}{more}"
