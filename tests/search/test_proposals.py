"""What a search proposes next, and when, on a table of results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.table import Table
from tasearch.runs.events import Event, TrialDone, TrialStarted
from tests.helpers.replay import Replay


def begun_at_once(events: Iterable[Event]) -> int:
    """Number of proposals before any trial has ended."""
    found = [*events]
    first = next(i for i, event in enumerate(found) if isinstance(event, TrialDone))
    return sum(isinstance(event, TrialStarted) for event in found[:first])


def test_baselines_overlap_whatever_max_concurrent(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=1)
    baselines = len(digits.space(played.manifest).baselines())
    assert baselines > 1
    assert begun_at_once(played.go(baselines + 2)[0]) == baselines


def test_baselines_do_not_overlap_under_a_limit_of_hours(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=1, max_hours=9.0)
    assert begun_at_once(played.go(4)[0]) == 1


@pytest.mark.parametrize("max_concurrent", [1, 3])
def test_max_concurrent_limits_overlapping_proposals(
    digits: Table, tmp_path: Path, max_concurrent: int
) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=max_concurrent)
    baselines = len(digits.space(played.manifest).baselines())
    running = 0
    proposed = 0
    for event in played.go(20, workers=8)[0]:
        if isinstance(event, TrialStarted):
            running, proposed = running + 1, proposed + 1
            assert proposed <= baselines or running <= max_concurrent
        elif isinstance(event, TrialDone):
            running -= not event.record.free
    assert running == 0
