"""Intervals of accuracies, and whether two accuracies can be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import stats

from tasearch.pareto.metric import Metric

CONFIDENCE = 0.95

Interval = tuple[float, float]


def accuracy_interval(accuracies: Sequence[float], samples: int) -> Interval:
    """The 95 % interval of an accuracy.

    For one replicate it is Wilson's score interval (Wilson, JASA 22, 1927): it holds for other
    samples, and for these weights. For several replicates, which share the samples, the standard
    error of their mean is added in quadrature: it then holds for other seeds as well.

    Args:
        accuracies: Accuracy of each replicate, 0..1, at least one.
        samples: Number of samples on which each of them was measured.

    Returns:
        Lower and upper end, 0..1.

    Example:
        >>> low, high = accuracy_interval([0.98], 359)
        >>> print(f"{low:.3f} to {high:.3f}")
        0.960 to 0.990
    """
    mean, z = fmean(accuracies), float(stats.norm.isf((1 - CONFIDENCE) / 2))
    shrink = 1 + z * z / samples
    centre = (mean + z * z / (2 * samples)) / shrink
    half = z / shrink * math.sqrt(mean * (1 - mean) / samples + (z / (2 * samples)) ** 2)
    count = len(accuracies)
    if count > 1:
        t = float(stats.t.isf((1 - CONFIDENCE) / 2, count - 1))
        half = math.hypot(half, t * stdev(accuracies) / math.sqrt(count))
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def score_interval(
    metric: Metric, scores: Sequence[float], samples: int, errors: Sequence[float] = ()
) -> Interval | None:
    """The 95 % interval of a score.

    Of a proportion it is `accuracy_interval`. Of another metric it is the normal interval from the
    mean score and its standard error on these samples, with the standard error over replicates in
    quadrature; it ends where the metric does.

    Args:
        metric: The metric.
        scores: Score of each replicate, at least one.
        samples: Number of samples on which each of them was measured.
        errors: Standard error of each on these samples.

    Returns:
        Lower and upper end; None if standard errors are needed and not known.
    """
    if metric.proportion:
        return accuracy_interval(scores, samples)
    if not errors:
        return None
    mean, z, count = fmean(scores), float(stats.norm.isf((1 - CONFIDENCE) / 2)), len(scores)
    half = z * fmean(errors)
    if count > 1:
        t = float(stats.t.isf((1 - CONFIDENCE) / 2, count - 1))
        half = math.hypot(half, t * stdev(scores) / math.sqrt(count))
    return min(mean, metric.clipped(mean - half)), max(mean, metric.clipped(mean + half))


def difference_interval(
    accuracy: float, interval: Interval, other: float, of_other: Interval
) -> Interval:
    """The 95 % interval of a difference of two accuracies, from the intervals of the two.

    The distances of each interval's ends from its accuracy are added in quadrature (method 10 of
    Newcombe, Statistics in Medicine 17, 1998, for two proportions; known as MOVER). The two are
    taken for independent. Two students that got the same samples right are more alike than that,
    so the interval is then too wide rather than too narrow.

    Args:
        accuracy: An accuracy, 0..1.
        interval: Its interval.
        other: The accuracy that is subtracted.
        of_other: Its interval.

    Returns:
        Lower and upper end of the first less the second, -1..1.

    Example:
        >>> low, high = difference_interval(0.9, (0.87, 0.92), 0.8, (0.76, 0.83))
        >>> print(f"{low:.3f} to {high:.3f}")
        0.058 to 0.145
    """
    difference = accuracy - other
    below = math.hypot(accuracy - interval[0], of_other[1] - other)
    above = math.hypot(interval[1] - accuracy, other - of_other[0])
    return difference - below, difference + above


def apart(better: float, of_better: Interval, worse: float, of_worse: Interval) -> bool:
    """Whether the 95 % interval of a difference of two accuracies is above 0.

    The interval is that of `difference_interval`. Two students that got the same samples right are
    more alike than it says, so a difference that is told apart is one.

    Args:
        better: The higher accuracy, 0..1.
        of_better: Its interval.
        worse: The lower accuracy.
        of_worse: Its interval.
    """
    return difference_interval(better, of_better, worse, of_worse)[0] > 0
