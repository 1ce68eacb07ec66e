"""What happens next to a chain that was queued, in words."""

from __future__ import annotations

from tasearch.runs.records import ENDED, states
from tasearch.runs.run import Run


def next_text(run: Run) -> str:
    """When the queued chains of a run are tried."""
    history, counts = run.directory.history(), states(run.trials)
    over = sum(counts[state] for state in ENDED)
    asked = history.target or 0
    again = "`tasearch run` on the same study tries it"
    if over >= min(asked, run.manifest.space):
        again = f"{again}, with --trials {over + counts['waiting']} or more"
    if not run.directory.busy:
        return again
    if any(not found.finished for found in run.confirmations) and history.finished:
        return f"a confirmation of this run is going on, and does not try it; afterwards {again}"
    return "the search that is going on tries it, after the trials that it has begun"
