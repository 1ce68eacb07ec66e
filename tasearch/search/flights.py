"""Trials in flight, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import TrialState

from tasearch.chain import Hop, Pupil
from tasearch.errors import TrainingError
from tasearch.search.hops import Hops
from tasearch.skyline import Watch, reason
from tasearch.store import HopRecord


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A trial that was asked for and is not over.

    Args:
        trial: Optuna's id.
        proposal: its number among proposals; a free trial has that of the chain it is part of.
        free: whether it is an assistant of a chain that was proposed.
        ancestors: hops that must be trained to their ends.
        student: the hop that it is about.
        watch: what its student is judged by; without bars where it is needed whole.
    """

    trial: int
    proposal: int
    free: bool
    ancestors: tuple[Hop, ...]
    student: Hop
    watch: Watch

    @property
    def hops(self) -> tuple[Hop, ...]:
        """All that it needs, in order."""
        return (*self.ancestors, self.student)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial has ended.

    Args:
        state: complete, pruned or failed.
        accuracy: of a complete one.
        attrs: what its record says besides.
    """

    state: TrialState
    accuracy: float | None
    attrs: Mapping[str, Any]


def outcome(flight: Flight, hops: Hops, teacher: Pupil) -> Outcome | None:
    """How a trial has ended; None while it has not.

    Raises:
        TrainingError: where the teacher cannot be had, without whom no chain can do.
    """
    missing = next((hop for hop in flight.ancestors if not hops.has(hop)), flight.student)
    why = hops.reason(missing)
    saved = hops.saved(flight.student)
    if why is not None:
        if missing.lineage == (teacher,):
            raise TrainingError(why)
        attrs: dict[str, Any] = {"reason": why}
        if hops.key(missing) in hops.failed:
            attrs["failed_hop"] = hops.key(missing)
        attrs |= _curve(saved) | _uses(flight, hops, saved, until=missing)
        return Outcome(state=TrialState.FAIL, accuracy=None, attrs=attrs)
    if missing != flight.student or saved is None:
        return None
    stop = flight.watch.stop(saved.curve)
    if stop is not None and not flight.watch.audited:
        saved = saved.until(stop.rung)
        attrs = {"reason": reason(stop), **_curve(saved), **_uses(flight, hops, saved)}
        return Outcome(state=TrialState.PRUNED, accuracy=None, attrs=attrs)
    if not hops.has(flight.student):
        return None
    attrs = {"audit": asdict(stop)} if stop else {}
    attrs |= _curve(saved) | _uses(flight, hops, saved)
    return Outcome(state=TrialState.COMPLETE, accuracy=saved.curve[-1], attrs=attrs)


def _curve(saved: HopRecord | None) -> dict[str, Any]:
    if saved is None:
        return {}
    attrs: dict[str, Any] = {"epochs": list(saved.epochs), "curve": list(saved.curve)}
    if len(saved.curves) > 1:
        attrs["accuracies"] = list(saved.accuracies)
    return attrs


def _uses(
    flight: Flight, hops: Hops, saved: HopRecord | None, until: Hop | None = None
) -> dict[str, Any]:
    """The hops as the trial used them, up to one that it could not have."""
    used = []
    for hop in flight.hops:
        own = saved if hop == flight.student else hops.saved(hop)
        if own is not None or hop != flight.student:
            used.append(asdict(hops.use(hop, own)))
        if hop == until:
            break
    return {"hops": used}
