"""What tasearch notes with Optuna's trials, and which trials it therefore takes for its own.

A trial that a search took up bears the attributes `proposal`, its place in the search's order, and
`trial`, its own number, so that a copy of it is told from it. Trials that others have added are
never believed; one of ours that others change is damage (see `tasearch.runs.sealed_journal`).
"""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial, TrialState

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
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
