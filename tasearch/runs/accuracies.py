"""Means of accuracies that are exact: chains with as many correct samples in all are equally good.

An accuracy is a number of correct samples divided by the number of samples, rounded to a float. A
mean of several is rounded as well, so its last bit depends on how the correct samples are
distributed over the replicates, and of two equally good chains one would seem to be better.

The true mean is a fraction whose denominator is at most samples times replicates. Two such
fractions differ by 1 / `MOST_SAMPLES`**2 or more, which is far above all rounding errors. So the
fraction that is nearest to the rounded mean is the true one.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from statistics import fmean

MOST_SAMPLES = 10_000_000  # validation samples times replicates up to which means are exact
ROUNDING = 1e-15  # above the rounding error of any mean of accuracies
BARELY = 1.5  # times the accuracy of guessing


def mean_accuracy(accuracies: Iterable[float]) -> float:
    """The mean of accuracies on the same samples, 0..1, as the float nearest to the true mean.

    A mean that is no such fraction, as beyond `MOST_SAMPLES`, keeps its rounding errors.

    Args:
        accuracies: The accuracies, at least one.
    """
    mean = fmean(accuracies)
    exact = float(Fraction(mean).limit_denominator(MOST_SAMPLES))
    return exact if abs(exact - mean) < ROUNDING else mean


def mean_of_known(accuracies: Iterable[float | None]) -> float | None:
    """The mean of the accuracies that are not None; None where there is none."""
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return mean_accuracy(known) if known else None


def near_chance(accuracy: float, chance: float) -> bool:
    """Whether an accuracy is hardly better than that of guessing.

    Args:
        accuracy: The accuracy, 0..1.
        chance: The accuracy of guessing.
    """
    return accuracy < BARELY * chance
