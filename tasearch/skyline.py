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
class Bar:
    """What one rung asks of a student.

    Args:
        gain: that it may still hope for.
        margin: against noise.
        skyline: the accuracy to reach.
    """

    gain: float
    margin: float
    skyline: float


def falls_short(accuracy: float, bar: Bar) -> bool:
    """Whether a student of this accuracy at a rung cannot reach the skyline."""
    return accuracy + bar.gain + bar.margin < bar.skyline - ROUNDING


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
        bar = self.bar(len(curve) - 1, params=params, latency_ms=latency_ms, finished=finished)
        if bar is None:
            return Judgement(prune=False, reach=None, skyline=None)
        reach = curve[-1] + bar.gain + bar.margin
        return Judgement(prune=falls_short(curve[-1], bar), reach=reach, skyline=bar.skyline)

    def bar(
        self, rung: int, *, params: int, latency_ms: float, finished: Sequence[Finished]
    ) -> Bar | None:
        """What a rung (from 0) asks of a student; None where nothing is known to ask."""
        rivals = [
            f.curve[-1] for f in finished if f.params <= params and f.latency_ms <= latency_ms
        ]
        gains = sorted(f.curve[-1] - f.curve[rung] for f in finished if len(f.curve) > rung)
        if not rivals or len(gains) < max(self.evidence, 1):
            return None
        gain = gains[max(0, math.ceil(self.quantile * len(gains)) - 1)]
        return Bar(gain=gain, margin=self.margin, skyline=max(rivals))


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

    def bars(self, rungs: int) -> tuple[Bar | None, ...]:
        """What each rung but the last asks, for whoever trains the student; none if it runs on."""
        if self._rule is None or self._audited:
            return ()
        return tuple(
            self._rule.bar(
                rung,
                params=self._params,
                latency_ms=self._latency_ms,
                finished=self._finished,
            )
            for rung in range(rungs - 1)
        )

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
