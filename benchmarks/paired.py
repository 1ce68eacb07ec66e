"""Statistics of accuracies in pairs of equal replicates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from scipy.stats import t as student_t

from tasearch.confirmation.statistics import holm

ALPHA = 0.05


def chosen_by_others(chains: Sequence[Sequence[float]]) -> list[float]:
    """The accuracy in each replicate of the chain that is best in the mean of all others.

    Args:
        chains: Accuracies of each chain, by replicate.
    """
    return [
        max(chains, key=lambda own: fmean(v for i, v in enumerate(own) if i != left_out))[left_out]
        for left_out in range(len(chains[0]))
    ]


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean of one value a replicate, and its t interval."""
    mean, error = fmean(values), stdev(values) / math.sqrt(len(values))
    half = float(student_t.ppf(1 - ALPHA / 2, len(values) - 1)) * error
    return {"mean": mean, "low": mean - half, "high": mean + half}


def less(own: Sequence[float], other: Sequence[float]) -> list[float]:
    """Differences, replicate by replicate."""
    return [a - b for a, b in zip(own, other, strict=True)]


def p_value(values: Sequence[float], least: float) -> float:
    """Two-sided p value of a mean difference.

    Args:
        values: Differences by replicate.
        least: Smallest standard deviation to believe, such as that of one validation sample.
    """
    error = max(stdev(values), least) / math.sqrt(len(values))
    return float(2 * student_t.sf(abs(fmean(values)) / error, len(values) - 1))


def survivors(found: Iterable[Sequence[float]], least: float) -> dict[str, int]:
    """How many mean differences are gains, or losses, after Holm's correction.

    Args:
        found: Differences by replicate, for each comparison.
        least: See `p_value`.
    """
    means, ps = [], []
    for values in found:
        means.append(fmean(values))
        ps.append(p_value(values, least))
    left = [mean for mean, p in zip(means, holm(ps), strict=True) if p <= ALPHA]
    gains = sum(mean > 0 for mean in left)
    return {"compared": len(ps), "gains": gains, "losses": len(left) - gains}
