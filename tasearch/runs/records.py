"""What a run has done, as plain values: trials, hops, and what they cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasearch.chains.chain import label
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.skyline import Audit

BACKWARD_PASSES = 3  # a training step costs a forward pass and twice that backward


@dataclass(frozen=True, kw_only=True)
class HopUse:
    """One hop as one trial used it.

    Args:
        key: names the hop in the store.
        width: its model's.
        epochs: of its recipe; 0 for a loaded teacher.
        trained: epochs done when the trial left it; fewer than `epochs` where it was stopped.
        accuracy: at its last rung then; None before the first.
    """

    key: str
    width: int
    epochs: int
    trained: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial of the study.

    Args:
        number: Optuna's.
        state: complete, pruned, failed or running; of trials that no search took up: waiting,
            refused (it was queued and is not tried, see `reason`) or foreign (added by others).
        chain: widths, teacher first; empty before it is known.
        recipe: `{"assistants": {...} or None, "student": {...}}`.
        accuracy: after the last epoch, or at the last rung of a pruned one; None before.
        epochs: at which the curve was taken.
        curve: validation accuracy of the student at those epochs.
        hops: what it used, the student's own last.
        accuracies: of each replicate, where there are several; `accuracy` is their mean.
        reason: why it failed or was pruned.
        audit: set where the rule would have stopped it.
        free: whether it is an assistant of the chain proposed before it, and cost nothing more.
        cause: of a failure: "code", which would fail again, or "machine", which may not.
        retry_of: number of the failed trial whose chain it tries again.
    """

    number: int
    state: str
    chain: tuple[int, ...] = ()
    recipe: Mapping[str, Any] | None = None
    accuracy: float | None = None
    epochs: tuple[int, ...] = ()
    curve: tuple[float, ...] = ()
    hops: tuple[HopUse, ...] = ()
    accuracies: tuple[float, ...] = ()
    reason: str | None = None
    audit: Audit | None = None
    free: bool = False
    cause: str | None = None
    retry_of: int | None = None

    @property
    def label(self) -> str:
        return label(self.chain, self.recipe)

    @property
    def falsely_pruned(self) -> bool:
        """Whether the audit caught the rule: the student did reach its skyline."""
        if self.audit is None or self.accuracy is None:
            return False
        return self.state == "complete" and self.accuracy >= self.audit.skyline


def states(trials: Iterable[TrialRecord]) -> Counter[str]:
    """How many trials are in each state, "retried" those that another has tried again.

    Args:
        trials: All trials of a run; free ones are not counted.
    """
    listed = [*trials]
    again = {trial.retry_of for trial in listed}
    counted = (trial for trial in listed if not trial.free)
    return Counter("retried" if t.number in again else t.state for t in counted)


def candidates(
    trials: Iterable[TrialRecord], measured: Mapping[int, Measurement]
) -> list[Candidate]:
    """The completed trials as candidates, in order."""
    return [
        Candidate(
            trial=t.number,
            chain=t.chain,
            recipe=dict(t.recipe or {}),
            accuracy=t.accuracy,
            params=measured[t.chain[-1]].params,
            bytes=measured[t.chain[-1]].bytes,
            latency_ms=measured[t.chain[-1]].latency_ms,
        )
        for t in trials
        if t.state == "complete" and t.accuracy is not None
    ]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What training cost, in FLOPs and in hops; soft targets (one pass) are not counted.

    Args:
        paid: what the study paid, each hop once.
        unshared: what the same trials pay when each chain trains its own hops.
        unpruned: what the study would have paid had no student been stopped.
        hops: distinct hops trained, in full or in part.
        uses: times that a trial needed a hop.
    """

    paid: float
    unshared: float
    unpruned: float
    hops: int
    uses: int


def training_flops(
    width: int, epochs: int, samples: int, measured: Mapping[int, Measurement]
) -> float:
    """Floating-point operations of so many epochs of a model of this width."""
    return float(BACKWARD_PASSES * measured[width].flops * samples * epochs)


def costs(
    trials: Iterable[TrialRecord], samples: int, measured: Mapping[int, Measurement]
) -> Costs:
    """Add up what the trials cost.

    Args:
        trials: in any order.
        samples: of the training part, times the replicates.
        measured: by width.
    """
    bill = Bill(samples, measured)
    for trial in trials:
        bill.add(trial)
    return bill.costs


class Bill:
    """The cost of trials that are added one by one.

    Args:
        samples: of the training part, times the replicates.
        measured: by width.

    Attributes:
        paid: see `Costs`.
        unshared: see `Costs`.
    """

    def __init__(self, samples: int, measured: Mapping[int, Measurement]) -> None:
        self._samples, self._measured = samples, measured
        self._furthest: dict[str, int] = {}  # epochs of each hop
        self._stopped: dict[str, HopUse] = {}
        self.unshared = 0.0
        self._uses = 0
        self.paid = 0.0

    def add(self, trial: TrialRecord) -> None:
        needed = [use for use in trial.hops if use.epochs and use.trained]
        if trial.free:  # its chain's, which has them already
            return
        self._uses += len(needed)
        for use in needed:
            before = self._furthest.get(use.key, 0)
            self._furthest[use.key] = max(before, use.trained)
            self.paid += self._flops(use.width, max(0, use.trained - before))
            self.unshared += self._flops(use.width, use.trained)
        if trial.state == "pruned":
            self._stopped |= {use.key: use for use in trial.hops if use.trained < use.epochs}

    @property
    def costs(self) -> Costs:
        spared = sum(
            self._flops(use.width, use.epochs - self._furthest.get(key, 0))
            for key, use in self._stopped.items()
        )
        return Costs(
            paid=self.paid,
            unshared=self.unshared,
            unpruned=self.paid + spared,
            hops=len(self._furthest),
            uses=self._uses,
        )

    def _flops(self, width: int, epochs: int) -> float:
        return training_flops(width, epochs, self._samples, self._measured)
