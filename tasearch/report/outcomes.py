"""How trials have ended, in words: how many in each state, and why some failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tasearch.runs.records import ENDED, TrialRecord

_HOP = re.compile(r"^hop [^:]+: ")


def outcome_text(trials: Iterable[TrialRecord]) -> str:
    """The trials that have ended, by state, with the reasons of those that failed.

    Args:
        trials: Trials in any state; free ones, and failed ones that were tried again, are left out.

    Returns:
        Text such as "8 complete, 1 pruned, 2 failed: out of memory on cpu"; empty if none has
        ended.
    """
    listed = [trial for trial in trials if not trial.free]
    retried = {trial.retry_of for trial in listed}
    ended = [t for t in listed if t.state in ENDED and t.number not in retried]
    counts = Counter(trial.state for trial in ended)
    words = ", ".join(f"{counts[state]} {state}" for state in ENDED if counts[state])
    reasons = Counter(_cause(t) for t in ended if t.state == "failed").most_common()
    if len(reasons) == 1:
        return f"{words}: {reasons[0][0]}"
    if reasons:
        words += ": " + "; ".join(f"{count} {reason}" for reason, count in reasons)
    return words


def _cause(trial: TrialRecord) -> str:
    """Why a trial failed, without the name of its hop, so that equal causes are equal."""
    return _HOP.sub("", trial.reason or "unknown")
