"""Damaged runs: what readers say, and how searches continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tasearch
from tasearch.runs.events import Notice
from tests.helpers.studies import tiny

EDITED = "does not match its checksum: it was edited, or is damaged"
ORDER = "is out of its order: it was doubled or moved"
GAP = "does not follow the line before: lines between them were removed or changed"


def resumed(path: Path, **options: Any) -> tuple[tasearch.Run, list[Any]]:
    """Continue the tiny study in a copy of its run; return the run and the events."""
    events: list[Any] = []
    run = tasearch.run(tiny(), runs_dir=path.parent, on_event=events.append, **options)
    return run, events


def told(events: list[Any]) -> list[str]:
    """The messages among some events."""
    return [event.message for event in events if isinstance(event, Notice)]
