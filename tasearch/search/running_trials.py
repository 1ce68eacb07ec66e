"""Trials that are running, and how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import TrialState

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.errors import TrainingError
from tasearch.pareto.skyline import StoppingCriterion, reason
from tasearch.runs.store import HopRecord
from tasearch.runs.trial_attributes import CODE, MACHINE
from tasearch.search.executor import HopExecutor


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that has started and has not ended.

    Args:
        trial: Optuna's id of the trial.
        proposal: Number of the proposal; a free trial has the number of the chain it is part of.
        free: Whether its student is an assistant of a chain that was proposed.
        criteria: The hops that it needs, ancestors first, each with its pruning thresholds;
            without thresholds where the hop must be trained to its end.
        direct: Number of the trial that distils the same student directly, if it started before.
    """

    trial: int
    proposal: int
    free: bool
    criteria: tuple[tuple[Hop, StoppingCriterion], ...]
    direct: int | None = None

    @property
    def student(self) -> Hop:
        """The hop of its student."""
        return self.criteria[-1][0]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial has ended.

    Args:
        state: Complete, pruned or failed.
        accuracy: Validation accuracy of a complete trial, 0..1; None otherwise.
        attrs: User attributes to store with the trial.
    """

    state: TrialState
    accuracy: float | None
    attrs: Mapping[str, Any]


def trial_result(
    running_trial: RunningTrial, hops: HopExecutor, teacher: ModelSpec
) -> TrialResult | None:
    """How a trial has ended; None while it has not.

    Args:
        running_trial: The trial.
        hops: The hops of the run.
        teacher: The teacher of all chains.

    Raises:
        TrainingError: The teacher cannot be trained or loaded; no chain can do without it.
    """
    used: list[tuple[Hop, HopRecord | None]] = []
    audit = None
    for hop, criterion in running_trial.criteria:
        there = hops.has(hop)
        saved = hops.saved(hop) if there or any(criterion.thresholds) else None
        why = None if there else hops.reason(hop)
        if why is not None:
            if hop.lineage == (teacher,):
                raise TrainingError(why)
            cause = CODE if hops.key(hop) in hops.failed else MACHINE
            attrs: dict[str, Any] = {"reason": why, "failed_hop": hops.key(hop), "cause": cause}
            saved = hops.saved(hop)
            if saved is not None or hop != running_trial.student:
                used.append((hop, saved))
            return TrialResult(
                state=TrialState.FAIL,
                accuracy=None,
                attrs=attrs | _details(used, hops, running_trial),
            )
        decision = criterion.decision(saved.curve) if saved is not None else None
        if saved is not None and decision is not None and not criterion.audited:
            rest = [(other, None) for other, _ in running_trial.criteria[len(used) + 1 :]]
            used += [(hop, saved.until(decision.rung)), *rest]
            words = reason(decision, hops.metric)
            if hop != running_trial.student or running_trial.free:
                words = f"behind {hop.label} a student {words}"
            attrs = {"reason": words} | _details(used, hops, running_trial)
            return TrialResult(state=TrialState.PRUNED, accuracy=None, attrs=attrs)
        if not there:
            return None
        used.append((hop, saved))
        audit = audit or decision
    assert saved is not None
    attrs = {"audit": asdict(audit)} if audit and not running_trial.free else {}
    attrs |= _details(used, hops, running_trial)
    return TrialResult(state=TrialState.COMPLETE, accuracy=saved.curve[-1], attrs=attrs)


def _details(
    used: Sequence[tuple[Hop, HopRecord | None]], hops: HopExecutor, running_trial: RunningTrial
) -> dict[str, Any]:
    """Attributes: the hops as the trial used them, and its student's curve so far."""
    attrs: dict[str, Any] = {"hops": [asdict(hops.use(hop, saved)) for hop, saved in used]}
    hop, saved = used[-1] if used else (None, None)
    if hop == running_trial.student and saved is not None:
        attrs |= {"epochs": list(saved.epochs), "curve": list(saved.curve)}
        if len(saved.curves) > 1:
            attrs["accuracies"] = list(saved.accuracies)
        if saved.errors:
            attrs["errors"] = list(saved.errors)
        if saved.recalls:
            attrs["recalls"] = [None if r is None else round(r, 4) for r in saved.recalls]
    return attrs
