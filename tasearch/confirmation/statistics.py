"""The statistics of a verdict: paired differences, looked at several times. Pure.

Each comparison has pairs of accuracies on common seeds; d is the difference of a pair. The looks,
after so many pairs each, are fixed before the first pair is trained, and so is the share w of the
error rate alpha that each look may spend (the shares sum to 1, so that by Bonferroni's inequality
all looks together spend at most alpha).

    m       mean of the n differences at a look
    s       their standard deviation, at least one sample of the validation set
    p       two-sided p value of a paired t test of m, divided by w
    bound   t(n - 1, 1 - alpha w / 2) s / sqrt(n)
    low, high   m -+ t(n - 1, 1 - 0.04 / 2) s / sqrt(n), the 95 % interval

A comparison is settled at a look if Holm's correction over all comparisons of the command rejects
its p (Holm, Scandinavian Journal of Statistics 6, 1979): the assistants help, or hurt. It is also
settled if m -+ bound lies within the margin: then there is no difference beyond the margin (as in
two one-sided tests; Schuirmann, 1987). After the last look it cannot be told.

The interval has a nominal 96 %, since a look that settles is a lucky one: in simulations it holds
the truth in 93 to 97 % (`benchmarks.verdicts`). It lies within m -+ bound, for alpha is at most
0.05, so that a difference that is claimed leaves 0 out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

from tasearch.runs.verdicts import Answer, LookPlan, Verdict

COVERAGE = 0.96  # nominal, of the interval
POWER = 0.8  # of the number of pairs that is told to find a difference as large as the margin


def assess(
    differences: Sequence[Sequence[float | None]], plan: LookPlan, *, least_step: float
) -> list[Verdict]:
    """Assess all comparisons of a command, by the looks that have been reached.

    A comparison that was settled at a look stays as it was assessed there. An open one is assessed
    at the last look for which it has all its pairs.

    Args:
        differences: For each comparison the difference of each pair, in order; None where one of
            the two trainings failed. A settled comparison need not have more.
        plan: The looks.
        least_step: Difference that one sample of the validation set makes.

    Returns:
        A verdict for each comparison.
    """
    found = [Verdict() for _ in differences]
    ps = [1.0 for _ in differences]
    for number, (pairs, share) in enumerate(zip(plan.pairs, plan.shares, strict=True)):
        looks = {
            i: _Look.at(own[:pairs], share * plan.alpha, least_step)
            for i, own in enumerate(differences)
            if not found[i].settled and len(own) >= pairs
        }
        for i, look in looks.items():
            ps[i] = min(1.0, look.p / share)
        corrected = holm(ps)
        for i, look in looks.items():
            last = number == len(plan.pairs) - 1
            found[i] = look.assessed(corrected[i], plan, len(differences), last=last)
    return found


def holm(ps: Sequence[float]) -> list[float]:
    """p values, corrected for their number by Holm's method.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One comparison at one look, before the corrections.

    Args:
        pairs: The number of pairs that count.
        mean: Mean difference.
        spread: Standard deviation of a difference.
        p: p value of a paired t test.
        bound: Half the width of an interval with the error rate that the look may spend.
        half_width: Half the width of the interval that is told.
    """

    pairs: int
    mean: float
    spread: float
    p: float
    bound: float
    half_width: float

    @classmethod
    def at(cls, differences: Sequence[float | None], alpha: float, least_step: float) -> _Look:
        """A look at some pairs.

        Args:
            differences: The difference of each pair; None for a pair that does not count.
            alpha: Error rate that the look may spend.
            least_step: Smallest standard deviation that is believed.
        """
        known = [d for d in differences if d is not None]
        n = len(known)
        if n < 2:
            return cls(pairs=n, mean=0.0, spread=0.0, p=1.0, bound=0.0, half_width=0.0)
        mean, spread = fmean(known), max(stdev(known), least_step)
        error = spread / math.sqrt(n)
        return cls(
            pairs=n,
            mean=mean,
            spread=spread,
            p=float(2 * stats.t.sf(abs(mean) / error, n - 1)),
            bound=float(stats.t.isf(alpha / 2, n - 1)) * error,
            half_width=float(stats.t.isf((1 - COVERAGE) / 2, n - 1)) * error,
        )

    def assessed(self, p: float, plan: LookPlan, comparisons: int, *, last: bool) -> Verdict:
        """The verdict at this look.

        Args:
            p: p value, corrected for the looks and for the other comparisons.
            plan: The looks.
            comparisons: The number of comparisons of the command.
            last: Whether it is the last look.
        """
        if self.pairs < 2:
            return Verdict(pairs=self.pairs, settled=last)
        answer: Answer = "cannot tell"
        if p <= plan.alpha:
            answer = "helps" if self.mean > 0 else "hurts"
        elif abs(self.mean) + self.bound <= plan.margin:
            answer = "no difference"
        return Verdict(
            answer=answer,
            settled=last or answer != "cannot tell",
            difference=self.mean,
            low=self.mean - self.half_width,
            high=self.mean + self.half_width,
            p=p,
            pairs=self.pairs,
            needed=self._needed(plan, comparisons),
        )

    def _needed(self, plan: LookPlan, comparisons: int) -> int:
        """The number of pairs that find a difference as large as the margin, by the normal law.

        The error rate is that of the last look, divided by the number of comparisons.
        """
        alpha = plan.alpha * plan.shares[-1] / comparisons
        distance = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(POWER))
        return max(2, math.ceil((distance * self.spread / plan.margin) ** 2))
