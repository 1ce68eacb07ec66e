"""What a run has done, as plain values: its trials, the hops they used, and their cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasearch.chains.chain import label
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.pareto.skyline import PruningDecision

ENDED = ("complete", "pruned", "failed")  # states of trials that are over
TRAINING_PASSES = 3  # an optimizer step costs one forward pass, and twice that for backward


@dataclass(frozen=True, kw_only=True)
class HopUse:
    """One hop as one trial used it.

    Args:
        key: The hop's key, which names its file in the store.
        width: Width of the model that the hop trains.
        epochs: Number of epochs of its recipe; 0 for a loaded teacher.
        trained: Number of epochs done when the trial ended; fewer than `epochs` if it was stopped.
        accuracy: Validation accuracy at the last rung by then, 0..1; None before the first rung.
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
        number: Number of the trial in Optuna.
        state: "complete", "pruned", "failed" or "running". A trial that no search has started is
            "waiting", "refused" (it was queued and is not tried; `reason` says why) or "foreign"
            (others have added it).
        chain: Widths, the teacher's first; empty before the chain is known.
        recipe: `{"assistants": {...} or None, "student": {...}}`.
        accuracy: Validation accuracy after the last epoch, or at the last rung of a pruned trial,
            0..1, mean over replicates; None before the first rung. In a study of another metric
            this and all other accuracies are scores of it, of which more is better.
        epochs: Epochs of the rungs at which the curve was taken.
        curve: Validation accuracy of the student at these rungs, mean over replicates.
        hops: The hops that the trial used, the student's own last.
        accuracies: Accuracy of each replicate; empty if there is only one.
        errors: Standard error of each replicate's score on the validation samples, for a metric
            that is no proportion of samples.
        recalls: Recall of each class on the validation set, 0..1, mean over replicates; None for a
            class without samples, empty where it was not measured.
        reason: Why the trial failed or was pruned.
        audit: What the pruning rule would have decided, for a trial that was not stopped in order
            to measure the rule.
        free: Whether it is about an assistant of the chain proposed before it; it costs nothing
            in addition.
        cause: Cause of a failure: "code", which would fail again, or "machine", which may not.
        retry_of: Number of the failed trial whose chain this trial tries again.
        teacher: Name of the teacher in chains; empty for its width.
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
    errors: tuple[float, ...] = ()
    recalls: tuple[float | None, ...] = ()
    reason: str | None = None
    audit: PruningDecision | None = None
    free: bool = False
    cause: str | None = None
    retry_of: int | None = None
    teacher: str = ""

    @property
    def label(self) -> str:
        """The chain in words, such as `64 → 12 → 4`."""
        return label(self.chain, self.recipe, self.teacher)

    @property
    def falsely_pruned(self) -> bool:
        """Whether the rule would have been wrong: the audited student did reach its skyline."""
        if self.audit is None or self.accuracy is None:
            return False
        return self.state == "complete" and self.accuracy >= self.audit.skyline


def states(trials: Iterable[TrialRecord]) -> Counter[str]:
    """The number of trials in each state; "retried" are those that another trial has repeated.

    Args:
        trials: All trials of a run; free trials are not counted.
    """
    listed = [*trials]
    retried = {trial.retry_of for trial in listed}
    counted = (trial for trial in listed if not trial.free)
    return Counter("retried" if t.number in retried else t.state for t in counted)


def candidates(
    trials: Iterable[TrialRecord],
    measured: Mapping[int, Measurement],
    metric: Metric = ACCURACY,
) -> list[Candidate]:
    """The complete trials as candidates, in order.

    Args:
        trials: Trials in any state.
        measured: Size and latency by width.
        metric: What they are compared by.
    """
    return [
        Candidate(
            trial=t.number,
            chain=t.chain,
            recipe=dict(t.recipe or {}),
            accuracy=t.accuracy,
            params=measured[t.chain[-1]].params,
            bytes=measured[t.chain[-1]].bytes,
            latency_ms=measured[t.chain[-1]].latency_ms,
            teacher=t.teacher,
            metric=metric,
        )
        for t in trials
        if t.state == "complete" and t.accuracy is not None
    ]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What training has cost; computing soft targets, stored or by online teachers, is not counted.

    Args:
        paid: Training FLOPs of the study, each hop counted once.
        unshared: Training FLOPs of the same trials if each chain trained its own hops.
        unpruned: Training FLOPs of the study if no student had been stopped.
        hops: Number of distinct hops that were trained, to their end or in part.
        uses: Number of times that a trial needed a hop.
    """

    paid: float
    unshared: float
    unpruned: float
    hops: int
    uses: int


def training_flops(
    width: int, epochs: int, samples: int, measured: Mapping[int, Measurement]
) -> float:
    """Floating-point operations of training a model.

    Args:
        width: Width of the model.
        epochs: Number of epochs.
        samples: Number of training samples in an epoch.
        measured: FLOPs of a forward pass and more, by width.
    """
    return float(TRAINING_PASSES * measured[width].flops * samples * epochs)


def costs(
    trials: Iterable[TrialRecord], samples: int, measured: Mapping[int, Measurement]
) -> Costs:
    """Add up what trials have cost.

    Args:
        trials: Trials in any order.
        samples: Number of training samples times number of replicates.
        measured: FLOPs of a forward pass and more, by width.
    """
    bill = Bill(samples, measured)
    for trial in trials:
        bill.add(trial)
    return bill.costs


class Bill:
    """The cost of trials that are added one by one.

    Args:
        samples: Number of training samples times number of replicates.
        measured: FLOPs of a forward pass and more, by width.

    Attributes:
        paid: Training FLOPs so far, each hop counted once.
        unshared: Training FLOPs so far if each chain trained its own hops.
    """

    def __init__(self, samples: int, measured: Mapping[int, Measurement]) -> None:
        self._samples, self._measured = samples, measured
        self._furthest: dict[str, int] = {}  # epochs trained, by key of the hop
        self._stopped: dict[str, HopUse] = {}
        self.unshared = 0.0
        self._uses = 0
        self.paid = 0.0

    def add(self, trial: TrialRecord) -> None:
        """Add the cost of a trial that has ended."""
        needed = [use for use in trial.hops if use.epochs and use.trained]
        if trial.free:  # the trial of its chain has paid for these hops
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
        """The cost of the trials added so far."""
        saved = sum(
            self._flops(use.width, use.epochs - self._furthest.get(key, 0))
            for key, use in self._stopped.items()
        )
        return Costs(
            paid=self.paid,
            unshared=self.unshared,
            unpruned=self.paid + saved,
            hops=len(self._furthest),
            uses=self._uses,
        )

    def _flops(self, width: int, epochs: int) -> float:
        return training_flops(width, epochs, self._samples, self._measured)
