"""Which models are equally fast, as far as their timings tell. Pure.

Models are timed side by side in rounds, so two of them are compared round by round: what slows a
whole round cancels out. `x[r]` is the median of a model's timings in round r, and

    d[r] = log(slow[r] / fast[r]) - log(1 + MARGIN)

The slower one is *apart* where the trimmed mean of d lies above 0 beyond chance: a one-sided t-test
of trimmed means (Tukey and McLaughlin, 1963; Yuen, 1974), which a few disturbed rounds do not sway.
Else the two are tied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

import numpy as np
from scipy.special import stdtr

MARGIN = 0.02  # a smaller difference is none: where a model happens to lie in memory makes as much
LEVEL = 3e-5  # nominal chance of an error in one comparison; of ten models there are 90, at each of
# seven looks, and the test is up to twice as liberal so far out: under 5 % in all
TRIM = 0.2  # share of rounds left out at each end
TRIMMED_FROM = 10  # rounds; of fewer all are needed


def tied_groups(rounds: Mapping[int, Sequence[float]]) -> list[tuple[int, ...]]:
    """Models in groups of equal speed, the fastest group first, the fastest model first in each.

    From the fastest on, a model joins the group before it unless it is apart from the *first* of
    that group: so no chain of small steps ties the fastest with the slowest.

    Args:
        rounds: median of each round's timings, by model; the same rounds for all.
    """
    groups: list[list[int]] = []
    for model in sorted(rounds, key=lambda m: (median(rounds[m]), *rounds[m], m)):
        if groups and not _apart(rounds[model], rounds[groups[-1][0]]):
            groups[-1].append(model)
        else:
            groups.append([model])
    return [tuple(group) for group in groups]


def settled(rounds: Mapping[int, Sequence[float]]) -> bool:
    """Whether more rounds are not called for: all who are tied differ by less than the margin."""
    return all(
        _excess(rounds[model], rounds[first])[0] <= 0
        for first, *others in tied_groups(rounds)
        for model in others
    )


def tied_latencies(rounds: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """One latency for each group, in the order of the rounds: the mean of its models' medians."""
    values = {
        model: fmean(median(rounds[m]) for m in group)
        for group in tied_groups(rounds)
        for model in group
    }
    return {model: values[model] for model in rounds}


def _apart(slow: Sequence[float], fast: Sequence[float]) -> bool:
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
    pulled = np.clip(d, kept[0], kept[-1])  # winsorized
    error = float(pulled.std(ddof=1)) * math.sqrt(count) / len(kept)
    return float(kept.mean()), error, len(kept) - 1
