"""What training tells while it goes on: plain values, which cross processes as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


def average(values: Iterable[float]) -> float:
    """The mean; of one value, that value."""
    listed = [*values]
    return sum(listed) / len(listed)


def average_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are not None; None where none is."""
    known = [value for value in values if value is not None]
    return average(known) if known else None


HopOutcome = Literal["end", "stopped", "failed", "memory"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished epoch.

    Args:
        epoch: 1 .. epochs.
        epochs: of the recipe.
        loss: mean over the epoch's steps, and over replicates.
        accuracy: of the validation part, at rungs, mean over replicates; None between.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class HopBegun:
    """A hop is being trained, from a saved rung if `epoch` > 0.

    Args:
        key: the hop's.
        epoch: epochs done before.
    """

    key: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class HopEpoch:
    """A hop has done one more epoch; a rung's is saved."""

    key: str
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class HopEnded:
    """A hop is not being trained any more.

    Args:
        key: the hop's.
        outcome: trained to its end, stopped at a rung, failed, or out of memory.
        epoch: epochs done.
        seconds: that it took a worker, or several together.
        reason: why it failed.
    """

    key: str
    outcome: HopOutcome
    epoch: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that a person should know."""

    text: str


Message = HopBegun | HopEpoch | HopEnded | Warned


def from_json(kind: str, content: dict[str, Any]) -> Message:
    """A message from the name of its class and its fields."""
    if kind == HopEpoch.__name__:
        return HopEpoch(key=content["key"], progress=Progress(**content["progress"]))
    classes: dict[str, type[HopBegun | HopEnded | Warned]] = {
        c.__name__: c for c in (HopBegun, HopEnded, Warned)
    }
    return classes[kind](**content)
