"""When to stop a student: pruning by optimistic skyline. Pure.

Notation, all accuracies in 0..1:

    a[i]    accuracy of the student at rung i (its last rung is its final accuracy)
    g[i]    what finished students gained from rung i to their end
    s       skyline: the best final accuracy among finished students no larger and no slower

A student stops at rung i when a[i] + quantile(g[i]) + margin < s: even an unusually late bloomer
would end below what a smaller and faster student has reached already. Ordinary rules compare
students at the same rung and so cut large, slow learners that would have reached the front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-9  # sums of accuracies that are equal differ by less


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A student that was trained to the end: accuracy at each rung, and what it costs."""

    curve: tuple[float, ...]
    params: int
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rule found at one rung.

    Args:
        prune: whether the student cannot reach the front.
        reach: upper bound of its final accuracy; None without enough evidence.
        skyline: the accuracy to reach; None where nothing smaller and faster has finished.
    """

    prune: bool
    reach: float | None
    skyline: float | None


@dataclass(frozen=True, kw_only=True)
class Skyline:
    """The rule.

    Args:
        quantile: of the gains of finished students; 1 takes the largest gain seen.
        margin: added to the bound against noise, in accuracy.
        evidence: finished students that it takes before any other is stopped.
    """

    quantile: float
    margin: float
    evidence: int

    def judge(
        self,
        curve: Sequence[float],
        *,
        params: int,
        latency_ms: float,
        finished: Sequence[Finished],
    ) -> Judgement:
        """Judge a student by its curve so far.

        Args:
            curve: accuracy at its rungs so far, at least one.
            params: its size.
            latency_ms: its latency.
            finished: students that reached their end, with the same rungs.
        """
        rivals = [
            f.curve[-1] for f in finished if f.params <= params and f.latency_ms <= latency_ms
        ]
        skyline = max(rivals, default=None)
        rung = len(curve) - 1
        gains = sorted(f.curve[-1] - f.curve[rung] for f in finished if len(f.curve) > rung)
        if len(gains) < max(self.evidence, 1):
            return Judgement(prune=False, reach=None, skyline=skyline)
        reach = curve[-1] + gains[max(0, math.ceil(self.quantile * len(gains)) - 1)] + self.margin
        prune = skyline is not None and reach < skyline - ROUNDING
        return Judgement(prune=prune, reach=reach, skyline=skyline)


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


class Watch:
    """One student under the rule, rung by rung.

    Args:
        rule: None lets it run to its end.
        params: its size.
        latency_ms: its latency.
        finished: the students it is measured against.
        audited: whether to let it run on where the rule would stop it.
    """

    def __init__(
        self,
        rule: Skyline | None,
        *,
        params: int,
        latency_ms: float,
        finished: Sequence[Finished],
        audited: bool,
    ) -> None:
        self._rule, self._audited = rule, audited
        self._params, self._latency_ms, self._finished = params, latency_ms, finished
        self.audit: Audit | None = None
        self.reason = ""

    def stops(self, curve: Sequence[float]) -> bool:
        """Judge at the last rung of `curve`; to be asked once at each rung."""
        if self._rule is None or self.audit is not None:
            return False
        found = self._rule.judge(
            curve, params=self._params, latency_ms=self._latency_ms, finished=self._finished
        )
        if not found.prune:
            return False
        assert found.reach is not None and found.skyline is not None
        if self._audited:
            self.audit = Audit(rung=len(curve) - 1, reach=found.reach, skyline=found.skyline)
            return False
        self.reason = (
            f"could reach {found.reach:.2%} at most, below the skyline of {found.skyline:.2%}"
        )
        return True
