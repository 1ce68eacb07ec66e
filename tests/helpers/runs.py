"""What tests look at in a finished run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import tasearch
from tasearch.runs.records import TrialRecord


def proposed(run: tasearch.Run) -> list[TrialRecord]:
    """The trials but those of assistants, which come along for free."""
    return [trial for trial in run.trials if not trial.free]


def contents(run: tasearch.Run) -> dict[str, bytes]:
    """Every file of a run's store, by its path within the run; none of a write that a kill cut off,
    which the next start removes."""
    kinds = ("hops", "checkpoints", "targets")
    files = [p for kind in kinds for p in (run.path / kind).glob("[!.]*")]
    return {str(p.relative_to(run.path)): p.read_bytes() for p in files}


def once_each(run: tasearch.Run) -> bool:
    """Whether no hop was trained to its end twice."""
    ends = Counter(e["hop"] for e in run.directory.events() if e["event"] == "end")
    return set(ends.values()) <= {1}


def facts(run: tasearch.Run) -> list[Any]:
    """All that two equal runs share."""
    return [vars(t) for t in run.trials]
