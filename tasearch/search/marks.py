"""What tasearch notes with Optuna's trials, and which trials it therefore takes for its own.

A trial that a search took up bears the attributes `proposal`, its place in the search's order, and
`trial`, its own number, so that a copy of it is told from it. Trials that others have added, or
have ended, are never believed.
"""

from __future__ import annotations

import copy
from typing import Any

from optuna.trial import FrozenTrial, TrialState

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
OUTSIDE = "was ended from outside while it was running"
MARKS = ("trial", "refused")  # attributes that are a trial's own number make it tasearch's
CODE, MACHINE = "code", "machine"  # cause of a failure: the second may not come again


def mark(proposal: int, number: int) -> dict[str, Any]:
    """The attributes of a trial that a search takes up."""
    return {"proposal": proposal, "trial": number}


def is_ours(trial: FrozenTrial) -> bool:
    """Whether a search took a trial up."""
    attrs = trial.user_attrs
    return attrs.get("trial") == trial.number and type(attrs.get("proposal")) is int


def is_free(trial: FrozenTrial) -> bool:
    """Whether a trial is an assistant of the chain proposed before it."""
    return bool(trial.user_attrs.get("free"))


def retry_of(trial: FrozenTrial) -> int | None:
    """The number of the failed trial that a trial says it tries again."""
    number = trial.user_attrs.get("retry_of")
    return number if type(number) is int else None


def is_retry(trial: FrozenTrial) -> bool:
    """Whether a trial tries again what failed; it does not count."""
    return retry_of(trial) is not None


def is_queued(trial: FrozenTrial) -> bool:
    """Whether a trial's chain was named by a person."""
    return bool(trial.user_attrs.get("queued"))


def is_refused(trial: FrozenTrial) -> bool:
    """Whether a trial was queued, and a search has said why it is not tried."""
    return trial.user_attrs.get("refused") == trial.number


def place(trial: FrozenTrial) -> tuple[int, bool, int]:
    """Where a trial of a search stands in the search's order."""
    return trial.user_attrs["proposal"], is_free(trial), trial.number


def believed(trial: FrozenTrial) -> FrozenTrial:
    """A trial of a search; as failed, where another than the search has ended it."""
    if trial.state not in OVER or _is_genuine(trial):
        return trial
    trial = copy.copy(trial)
    trial.state, trial.values = TrialState.FAIL, None
    kept = {n: v for n, v in trial.user_attrs.items() if n not in ("curve", "epochs", "audit")}
    trial.user_attrs = kept | {"hops": [], "reason": OUTSIDE}
    return trial


def _is_genuine(trial: FrozenTrial) -> bool:
    attrs = trial.user_attrs
    if "hops" not in attrs or "recipe" not in attrs:
        return False
    if trial.state != TrialState.COMPLETE:
        return bool(attrs.get("reason"))
    curve: Any = attrs.get("curve")
    values = trial.values
    known = isinstance(curve, list) and len(curve) > 0 and values is not None
    return known and values[0] == curve[-1]
