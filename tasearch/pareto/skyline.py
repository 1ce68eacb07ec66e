"""When to stop a student: pruning by optimistic skyline. Pure.

Notation, all accuracies in 0..1:

    a[i]    accuracy of the student at rung i (its last rung is its final accuracy)
    g[i]    what finished students gained from rung i to their end
    s       skyline: the best final accuracy among finished students no larger and no slower
    lead    the most by which a finished student was ahead of an assistant in its chain
    noise   standard deviation of a final accuracy over repetitions

A student stops at rung i when a[i] + quantile(g[i]) + margin * noise < s: even an unusually late
bloomer would end below what a smaller and faster student has reached already. Ordinary rules
compare students at the same rung and so cut large, slow learners that would have reached the front.

An assistant, and with it what follows in the chain, stops when a[i] + quantile(g[i]) + lead +
margin * noise < s, where s is the student's: even ahead of it as far as any was, the student would
end below, and the models in between, which are larger, all the more.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

ROUNDING = 1e-9  # sums of accuracies that are equal differ by less
BEND = 6.0  # variance of a - 2b + c, over that of each of three independent values


@dataclass(frozen=True, kw_only=True)
class FinishedStudent:
    """A student that was trained to the end.

    Args:
        curve: accuracy at each rung, mean over replicates.
        accuracies: of each replicate at the end.
        params: its size.
        latency_ms: its latency.
        assistants: final accuracies of those in its chain.
    """

    curve: tuple[float, ...]
    accuracies: tuple[float, ...]
    params: int
    latency_ms: float
    assistants: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What one rung asks of a student.

    Args:
        gain: that it may still hope for; of an assistant, with the student's lead.
        margin: against noise.
        skyline: the accuracy to reach.
    """

    gain: float
    margin: float
    skyline: float

    def reach(self, accuracy: float) -> float:
        """Upper bound of the student's final accuracy where this one is found at the rung."""
        return accuracy + self.gain + self.margin

    def stops(self, accuracy: float) -> bool:
        """Whether with this accuracy at the rung the student cannot reach the skyline."""
        return self.reach(accuracy) < self.skyline - ROUNDING

    @property
    def least(self) -> float:
        """The accuracy that it takes."""
        return self.skyline - self.gain - self.margin


Thresholds = tuple[
    Threshold | None, ...
]  # of each rung that is asked; None where nothing is known to ask


def lowest(wanted: Sequence[Thresholds]) -> Thresholds:
    """What each rung asks where several trials want one hop: it stops only where it would for all;
    never where one has no thresholds."""
    rungs = zip(*wanted, strict=False) if all(wanted) else ()
    found = []
    for thresholds in rungs:
        known = [threshold for threshold in thresholds if threshold is not None]
        found.append(min(known, key=lambda b: b.least) if len(known) == len(thresholds) else None)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Skyline:
    """The rule.

    Args:
        gain_quantile: Quantile of past accuracy gains, used as the optimistic bound; 1 takes the
            largest gain seen.
        noise_margin: Standard deviations of noise that are added to the bound.
        n_startup_trials: Finished students that the rule needs before it stops a student; and
            finished students with assistants, before it stops an assistant.
    """

    gain_quantile: float
    noise_margin: float
    n_startup_trials: int


class StudentHistory:
    """Finished students, as the rule needs them: adding one and asking take O(students) at worst.

    Args:
        rule: what to ask of others.
    """

    def __init__(self, rule: Skyline) -> None:
        self._rule = rule
        self._gains: dict[int, list[list[float]]] = {}  # by number of rungs: of each, sorted
        self._best: dict[tuple[int, float], float] = {}  # accuracy by params and latency
        self._lead = 0.0
        self._behind = 0  # students behind assistants
        self._variances = 0.0  # summed
        self._noted = 0

    def add(self, student: FinishedStudent) -> None:
        curve, end = student.curve, student.curve[-1]
        gains = self._gains.setdefault(len(curve), [[] for _ in curve])
        for found, accuracy in zip(gains, curve, strict=True):
            bisect.insort(found, end - accuracy)
        size = student.params, student.latency_ms
        self._best[size] = max(end, self._best.get(size, 0.0))
        if student.assistants:
            self._lead = max(self._lead, end - min(student.assistants))
            self._behind += 1
        spread = _spread(student)
        if spread is not None:
            self._variances += spread
            self._noted += 1

    @property
    def noise(self) -> float:
        """Standard deviation of a final accuracy: between replicates, whose mean it is; of single
        ones, how much their curves jump about at the end."""
        return math.sqrt(self._variances / self._noted) if self._noted else 0.0

    def skyline(self, *, params: int, latency_ms: float) -> float | None:
        """The best accuracy of a student no larger and no slower, if there is one."""
        rivals = [a for (p, t), a in self._best.items() if p <= params and t <= latency_ms]
        return max(rivals, default=None)

    def thresholds(
        self, rungs: int, *, params: int, latency_ms: float, assistant: bool = False
    ) -> Thresholds:
        """What each rung asks.

        Args:
            rungs: of the hop.
            params: of the student.
            latency_ms: of the student.
            assistant: whether the hop is that of an assistant of this student; it is asked at the
                last rung, too.
        """
        asked = rungs if assistant else rungs - 1
        skyline = self.skyline(params=params, latency_ms=latency_ms)
        gains = self._gains.get(rungs, [])
        enough = bool(gains) and len(gains[0]) >= max(self._rule.n_startup_trials, 1)
        if assistant:
            enough = enough and self._behind >= max(self._rule.n_startup_trials, 1)
        if skyline is None or not enough:
            return (None,) * asked
        place = max(0, math.ceil(self._rule.gain_quantile * len(gains[0])) - 1)
        ahead = self._lead if assistant else 0.0
        margin = self._rule.noise_margin * self.noise
        return tuple(
            Threshold(gain=found[place] + ahead, margin=margin, skyline=skyline)
            for found in gains[:asked]
        )


def _spread(student: FinishedStudent) -> float | None:
    """Variance of a final accuracy, as far as one student tells."""
    if len(student.accuracies) > 1:
        return variance(student.accuracies) / len(student.accuracies)
    if len(student.curve) < 3:
        return None
    a, b, c = student.curve[-3:]
    return (a - 2 * b + c) ** 2 / BEND


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A student that the rule would have stopped, let run on to measure the rule.

    Args:
        rung: index of the rung at which it would have stopped.
        reach: the bound of its final accuracy at that rung.
        skyline: what it had to reach.
    """

    rung: int
    reach: float
    skyline: float


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One student under the rule.

    Args:
        thresholds: frozen when its trial began; empty to let it run to its end.
        audited: whether to let it run on where the rule would stop it.
    """

    thresholds: Thresholds
    audited: bool

    @property
    def binding(self) -> Thresholds:
        """For whoever trains the student."""
        return () if self.audited else self.thresholds

    def stop(self, curve: Sequence[float]) -> Audit | None:
        """The first rung of a curve at which the rule stops the student; of one that is audited,
        would stop it."""
        for rung, (threshold, accuracy) in enumerate(zip(self.thresholds, curve, strict=False)):
            if threshold is not None and threshold.stops(accuracy):
                return Audit(rung=rung, reach=threshold.reach(accuracy), skyline=threshold.skyline)
        return None


def reason(stop: Audit) -> str:
    """Why a student was stopped, in words."""
    return f"could reach {stop.reach:.2%} at most, below the skyline of {stop.skyline:.2%}"
