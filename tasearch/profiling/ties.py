"""Which models are equally fast, as far as their timings tell.

Models are timed side by side in rounds, so two of them are compared round by round: what slows
down a whole round cancels out. For the median timings `slow[r]` and `fast[r]` of round r, let

    d[r] = log(slow[r] / fast[r]) - log(1 + MARGIN)

The two models differ if the trimmed mean of d is significantly greater than 0. The test is a
one-sided t-test of trimmed means (Tukey and McLaughlin, 1963; Yuen, 1974), on which a few disturbed
rounds have no influence. Otherwise the two models are tied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

import numpy as np
from scipy.special import stdtr

MARGIN = 0.02  # relative difference that counts as none: a model's place in memory causes as much
# Nominal error rate of one comparison. Ten models have 90 comparisons, each made up to seven times,
# and so far out in the tail the true rate is up to twice the nominal one: under 5 % in all.
LEVEL = 3e-5
TRIM = 0.2  # fraction of the rounds that is left out at each end
TRIMMED_FROM = 10  # rounds; fewer are all used


def tied_groups(rounds: Mapping[int, Sequence[float]]) -> list[tuple[int, ...]]:
    """Groups of models that are equally fast.

    Models are taken from the fastest to the slowest. A model joins the last group unless it differs
    from the *first* model of that group, so no chain of small steps ties the fastest with the
    slowest.

    Args:
        rounds: Median timing of each round by model, in any unit; the same rounds for all models.

    Returns:
        The groups, the fastest first; in each group the fastest model comes first.

    Example:
        >>> tied_groups({8: [2.0] * 20, 4: [1.01] * 20, 2: [1.0] * 20})
        [(2, 4), (8,)]
    """
    groups: list[list[int]] = []
    for model in sorted(rounds, key=lambda m: (median(rounds[m]), *rounds[m], m)):
        if groups and not _differ(rounds[model], rounds[groups[-1][0]]):
            groups[-1].append(model)
        else:
            groups.append([model])
    return [tuple(group) for group in groups]


def settled(rounds: Mapping[int, Sequence[float]]) -> bool:
    """Whether no more rounds are needed, because all tied models differ by less than the margin.

    Args:
        rounds: Median timing of each round by model, in any unit.
    """
    return all(
        _excess(rounds[model], rounds[first])[0] <= 0
        for first, *others in tied_groups(rounds)
        for model in others
    )


def tied_latencies(rounds: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """One latency for all models of a group: the mean of their medians.

    Args:
        rounds: Median timing of each round by model, in any unit.

    Returns:
        The latency by model, in the same unit and order.
    """
    values = {
        model: fmean(median(rounds[m]) for m in group)
        for group in tied_groups(rounds)
        for model in group
    }
    return {model: values[model] for model in rounds}


def _differ(slow: Sequence[float], fast: Sequence[float]) -> bool:
    mean, error, freedom = _excess(slow, fast)
    if mean <= 0 or freedom < 1:
        return False
    return error == 0 or float(stdtr(freedom, -mean / error)) < LEVEL


def _excess(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, int]:
    """Trimmed mean of d, its standard error, and the degrees of freedom."""
    d = np.sort(np.log(np.divide(slow, fast)) - math.log1p(MARGIN))
    count = len(d)
    cut = int(TRIM * count) if count >= TRIMMED_FROM else 0
    kept = d[cut : count - cut]
    if len(kept) < 2:
        return float(kept.mean()), math.inf, 0
    winsorized = np.clip(d, kept[0], kept[-1])
    error = float(winsorized.std(ddof=1)) * math.sqrt(count) / len(kept)
    return float(kept.mean()), error, len(kept) - 1
