"""Events: what a search, and the training of its hops, report while they run.

Plain values. Those of hops cross processes as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tasearch.runs.records import TrialRecord
from tasearch.runs.verdicts import Confirmation

HopOutcome = Literal["complete", "stopped", "failed", "out of memory"]


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial has started.

    Args:
        number: The trial's number in the Optuna study.
        label: The chain in words, such as `64 → 12 → 4`.
        done: Number of trials that have ended.
        trials: Number of trials that the study asks for.
    """

    number: int
    label: str
    done: int
    trials: int


@dataclass(frozen=True, kw_only=True)
class HopStarted:
    """The training of a hop has started, or goes on from a saved rung.

    Args:
        key: The hop's key.
        label: The hop's lineage in words.
        epoch: Number of epochs done before.
        epochs: Number of epochs of the recipe; 0 for a loaded teacher.
        recipe: The model's recipe as a dict; None for the teacher.
    """

    key: str
    label: str
    epoch: int
    epochs: int
    recipe: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class HopReused:
    """A trial uses a hop that is stored, or in training for an earlier trial.

    Args:
        label: The hop's lineage in words.
    """

    label: str


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """A hop has been trained for one more epoch; at a rung it has been saved.

    Args:
        key: The hop's key.
        label: The hop's lineage in words.
        epoch: Number of the epoch, 1 to `epochs`.
        epochs: Number of epochs of the recipe.
        loss: Mean training loss over the steps of the epoch and over replicates.
        accuracy: Validation accuracy at a rung, 0..1, mean over replicates; None between rungs.
    """

    key: str
    label: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class HopEnded:
    """The training of a hop has ended, or a loaded teacher has been evaluated.

    Args:
        key: The hop's key.
        label: The hop's lineage in words.
        outcome: Trained to its last epoch, stopped at a rung, failed, or out of memory.
        epoch: Number of epochs done.
        seconds: Training time on one worker; the sum over workers that shared its replicates.
        reason: Why it failed; empty otherwise.
        accuracy: Validation accuracy of a complete hop, 0..1; None otherwise.
        teacher: Whether the hop is the teacher of all chains.
    """

    key: str
    label: str
    outcome: HopOutcome
    epoch: int
    seconds: float
    reason: str = ""
    accuracy: float | None = None
    teacher: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialDone:
    """A trial has ended.

    Args:
        record: The trial: its state (complete, pruned or failed), chain, recipe and accuracy.
        done: Number of trials that have ended.
        trials: Number of trials that the study asks for.
    """

    record: TrialRecord
    done: int
    trials: int


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a person should know; the search continues.

    Args:
        message: The text to show.
    """

    message: str


@dataclass(frozen=True, kw_only=True)
class SearchFinished:
    """The search is over.

    Args:
        reason: Why it ended.
        done: Number of trials that have ended.
    """

    reason: str
    done: int


@dataclass(frozen=True, kw_only=True)
class LookStarted:
    """A confirmation begins to train the pairs of one more look.

    Args:
        look: Number of the look, from 1.
        pairs: Number of fresh seeds at each look, this one and the later ones, at most.
        new: Number of seeds that this look adds.
        stored: Number of hops of the look that are trained already.
        hops: Width and epochs of each hop that is still to be trained.
    """

    look: int
    pairs: tuple[int, ...]
    new: int
    stored: int
    hops: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class LookDone:
    """A confirmation has trained the pairs of one more look.

    Args:
        confirmation: What it compares, and what is known so far.
    """

    confirmation: Confirmation


@dataclass(frozen=True, kw_only=True)
class ConfirmationFinished:
    """A confirmation is over.

    Args:
        confirmation: Its verdicts.
    """

    confirmation: Confirmation


HopEvent = HopStarted | EpochDone | HopEnded | Notice
Event = (
    HopEvent
    | TrialStarted
    | HopReused
    | TrialDone
    | SearchFinished
    | LookStarted
    | LookDone
    | ConfirmationFinished
)

_HOP_EVENTS: dict[str, type[HopEvent]] = {
    kind.__name__: kind for kind in (HopStarted, EpochDone, HopEnded, Notice)
}


def hop_event(kind: str, content: Mapping[str, Any]) -> HopEvent:
    """The event of a hop from the name of its class and its fields.

    Args:
        kind: Name of one of the classes of `HopEvent`.
        content: Its fields, as `dataclasses.asdict` returns them.

    Raises:
        KeyError: The name is none of these.
        TypeError: The fields are not those of the class.
    """
    return _HOP_EVENTS[kind](**content)
