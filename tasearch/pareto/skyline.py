"""The pruning rule: stop a student that cannot reach the front any more. Pure.

Accuracies are scores of the study's metric, of which more is better. A rung is an epoch at which a
model is evaluated; the last rung is its end.

    a[i]    accuracy of the student at rung i
    g[i]    accuracy that each finished student gained from rung i to its end
    s       skyline: the best final accuracy of a finished student that is no larger and no slower
    lead    the largest advantage of a finished student over an assistant in its chain
    noise   standard deviation of a final accuracy

A student stops at rung i if a[i] + quantile(g[i]) + noise_margin * noise < s. Even an unusually
large gain would then leave it below what a smaller and faster student has already reached. Ordinary
rules compare students at the same rung, so they stop large models that learn slowly but would have
reached the front.

An assistant stops, and the rest of its chain with it, if a[i] + quantile(g[i]) + lead +
noise_margin * noise < s, where s is the skyline of the chain's student. Even with the largest lead
seen so far, the student would end below its skyline.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

from tasearch.pareto.metric import ACCURACY, Metric

ROUNDING = 1e-9  # two sums of accuracies that are equal but for rounding differ by less
SECOND_DIFFERENCE = 6.0  # variance of a - 2b + c for independent a, b, c of variance 1


@dataclass(frozen=True, kw_only=True)
class FinishedStudent:
    """A student that was trained to the end.

    Args:
        curve: The accuracy at each rung, averaged over replicates.
        accuracies: The final accuracy of each replicate.
        params: The number of the student's parameters.
        latency_ms: The student's latency, in milliseconds.
        assistants: The final accuracies of the assistants in its chain.
    """

    curve: tuple[float, ...]
    accuracies: tuple[float, ...]
    params: int
    latency_ms: float
    assistants: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The condition for going on at one rung.

    Args:
        gain: The optimistic bound on the accuracy still to be gained. For an assistant it includes
            the lead that a student may have over it.
        margin: The margin for noise, in accuracy.
        skyline: The accuracy that the student must be able to reach.
    """

    gain: float
    margin: float
    skyline: float

    def reach(self, accuracy: float) -> float:
        """Upper bound on the student's final accuracy, given the accuracy at the rung."""
        return accuracy + self.gain + self.margin

    def stops(self, accuracy: float) -> bool:
        """Whether a model with this accuracy at the rung is stopped."""
        return self.reach(accuracy) < self.skyline - ROUNDING

    @property
    def least(self) -> float:
        """The lowest accuracy at the rung that is not stopped."""
        return self.skyline - self.gain - self.margin


# One threshold for each rung; None at a rung where too little is known to stop anything.
Thresholds = tuple[Threshold | None, ...]


def lowest(wanted: Sequence[Thresholds]) -> Thresholds:
    """The thresholds of a hop that several trials need: it stops only if it would stop for each.

    Args:
        wanted: The thresholds of each trial. A trial without thresholds never lets the hop stop.
    """
    rungs = zip(*wanted, strict=False) if all(wanted) else ()
    found: list[Threshold | None] = []
    for thresholds in rungs:
        known = [threshold for threshold in thresholds if threshold is not None]
        if len(known) < len(thresholds):
            found.append(None)
        else:
            found.append(min(known, key=lambda threshold: threshold.least))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class PruningRule:
    """The settings of the rule.

    Args:
        gain_quantile: The quantile of past accuracy gains that is used as the optimistic bound, in
            0..1; 1 is the largest gain seen.
        noise_margin: The number of standard deviations of noise that are added to the bound.
        n_startup_trials: The number of finished students that the rule needs before it stops a
            student, and of finished students with assistants before it stops an assistant.
    """

    gain_quantile: float
    noise_margin: float
    n_startup_trials: int


class StudentHistory:
    """What finished students tell the rule.

    Adding a student and computing thresholds take O(students) at worst.

    Args:
        rule: The settings of the rule.
    """

    def __init__(self, rule: PruningRule) -> None:
        self._rule = rule
        # By number of rungs: for each rung, the sorted gains from there to the end.
        self._gains: dict[int, list[list[float]]] = {}
        self._best: dict[tuple[int, float], float] = {}  # best accuracy by params and latency
        self._lead = 0.0
        self._with_assistants = 0  # number of students whose chains have assistants
        self._variance_sum = 0.0
        self._variance_count = 0

    def add(self, student: FinishedStudent) -> None:
        """Take in a student that was trained to the end."""
        curve, end = student.curve, student.curve[-1]
        gains = self._gains.setdefault(len(curve), [[] for _ in curve])
        for found, accuracy in zip(gains, curve, strict=True):
            bisect.insort(found, end - accuracy)
        size = student.params, student.latency_ms
        self._best[size] = max(end, self._best.get(size, end))
        if student.assistants:
            self._lead = max(self._lead, end - min(student.assistants))
            self._with_assistants += 1
        spread = _final_variance(student)
        if spread is not None:
            self._variance_sum += spread
            self._variance_count += 1

    @property
    def noise(self) -> float:
        """Standard deviation of a final accuracy.

        With replicates it is the standard error of their mean. Without, it is that of the second
        difference of each curve's last three values, in which a steady rise cancels out; this is
        less than the noise between seeds.
        """
        if not self._variance_count:
            return 0.0
        return math.sqrt(self._variance_sum / self._variance_count)

    def skyline(self, *, params: int, latency_ms: float) -> float | None:
        """The best accuracy of a finished student no larger and no slower; None if none is."""
        rivals = [a for (p, t), a in self._best.items() if p <= params and t <= latency_ms]
        return max(rivals, default=None)

    def thresholds(
        self, rungs: int, *, params: int, latency_ms: float, assistant: bool = False
    ) -> Thresholds:
        """The thresholds of a hop.

        Args:
            rungs: The number of rungs of the hop.
            params: The number of the student's parameters.
            latency_ms: The student's latency, in milliseconds.
            assistant: Whether the hop trains an assistant of this student rather than the student.

        Returns:
            A threshold for each rung. A student has none at the last rung, where it has finished;
            an assistant has one there, since the rest of its chain can still be stopped.
        """
        number = rungs if assistant else rungs - 1
        skyline = self.skyline(params=params, latency_ms=latency_ms)
        gains = self._gains.get(rungs, [])
        enough = bool(gains) and len(gains[0]) >= max(self._rule.n_startup_trials, 1)
        if assistant:
            enough = enough and self._with_assistants >= max(self._rule.n_startup_trials, 1)
        if skyline is None or not enough:
            return (None,) * number
        index = max(0, math.ceil(self._rule.gain_quantile * len(gains[0])) - 1)
        lead = self._lead if assistant else 0.0
        margin = self._rule.noise_margin * self.noise
        return tuple(
            Threshold(gain=found[index] + lead, margin=margin, skyline=skyline)
            for found in gains[:number]
        )


def _final_variance(student: FinishedStudent) -> float | None:
    """Variance of a final accuracy, estimated from one student; None if its curve is too short."""
    if len(student.accuracies) > 1:
        return variance(student.accuracies) / len(student.accuracies)
    if len(student.curve) < 3:
        return None
    a, b, c = student.curve[-3:]
    return (a - 2 * b + c) ** 2 / SECOND_DIFFERENCE


@dataclass(frozen=True, kw_only=True)
class PruningDecision:
    """Where and why the rule stops a student.

    A trial keeps it if its student was trained on all the same, to audit the rule.

    Args:
        rung: The index of the rung at which the rule stops the student.
        reach: The upper bound on the student's final accuracy at that rung.
        skyline: The accuracy that the student had to be able to reach.
    """

    rung: int
    reach: float
    skyline: float


@dataclass(frozen=True, kw_only=True)
class StoppingCriterion:
    """The rule, applied to one student.

    Args:
        thresholds: The thresholds as they were when its trial began; empty if it is never stopped.
        audited: Whether it is trained on where the rule would stop it.
    """

    thresholds: Thresholds
    audited: bool

    @property
    def binding(self) -> Thresholds:
        """The thresholds at which training must stop; empty if the student is audited."""
        return () if self.audited else self.thresholds

    def decision(self, curve: Sequence[float]) -> PruningDecision | None:
        """The first rung at which the rule stops the student, or would if it were not audited.

        Args:
            curve: The accuracies at the rungs so far.

        Returns:
            Where and why; None if the rule does not stop it.
        """
        for rung, (threshold, accuracy) in enumerate(zip(self.thresholds, curve, strict=False)):
            if threshold is not None and threshold.stops(accuracy):
                return PruningDecision(
                    rung=rung, reach=threshold.reach(accuracy), skyline=threshold.skyline
                )
        return None


def reason(decision: PruningDecision, metric: Metric = ACCURACY) -> str:
    """Why a student was stopped, as a message.

    Args:
        decision: Where and why.
        metric: What students are compared by.
    """
    reach, skyline = (metric.text(score, 2) for score in (decision.reach, decision.skyline))
    of = "" if metric.is_accuracy else f"a {metric.words} of "
    least = "least" if metric.sign < 0 else "most"
    side = "above" if metric.sign < 0 else "below"
    return f"could reach {of}{reach} at {least}, {side} the skyline of {skyline}"
