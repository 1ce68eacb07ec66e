"""What a search yields while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from tasearch.record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A chain is taken up. `done` of `trials` are behind it."""

    number: int
    label: str
    done: int
    trials: int


@dataclass(frozen=True, kw_only=True)
class HopStarted:
    """A hop is being trained, from an earlier rung if `epoch` > 0."""

    label: str
    epoch: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class HopReused:
    """A hop is in the store already."""

    label: str


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """One epoch of the hop started last; accuracy at rungs only."""

    label: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class HopDone:
    """A hop was trained to its end, or a teacher loaded; accuracy of the validation part."""

    label: str
    accuracy: float
    teacher: bool


@dataclass(frozen=True, kw_only=True)
class TrialDone:
    """A trial has ended: complete, pruned or failed."""

    record: TrialRecord
    done: int
    trials: int


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a person should know; the search goes on."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The search is over: `reason` says why."""

    reason: str
    done: int


Event = TrialStarted | HopStarted | HopReused | EpochDone | HopDone | TrialDone | Notice | Finished
