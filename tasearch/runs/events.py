"""What a search yields while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasearch.runs.records import TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A chain is taken up. `done` of `trials` are behind it."""

    number: int
    label: str
    done: int
    trials: int


@dataclass(frozen=True, kw_only=True)
class HopStarted:
    """A hop is being trained, from an earlier rung if `epoch` > 0. `key` tells hops apart.

    `recipe` is the model's; None for the teacher.
    """

    key: str
    label: str
    epoch: int
    epochs: int
    recipe: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class HopReused:
    """A trial needs a hop that is in the store already, or trained for an earlier trial."""

    label: str


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """One epoch of a hop that was started; accuracy at rungs only."""

    key: str
    label: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class HopDone:
    """A hop was trained to its end, or a teacher loaded; accuracy of the validation part."""

    key: str
    label: str
    accuracy: float
    teacher: bool


@dataclass(frozen=True, kw_only=True)
class HopStopped:
    """A hop was stopped at a rung, or failed; its trials tell why."""

    key: str
    label: str
    epoch: int


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
class SearchFinished:
    """The search is over: `reason` says why."""

    reason: str
    done: int


Event = (
    TrialStarted
    | HopStarted
    | HopReused
    | EpochDone
    | HopDone
    | HopStopped
    | TrialDone
    | Notice
    | SearchFinished
)
