"""Means of accuracies that are exact: chains with as many correct samples in all are equally good.

An accuracy is a number of correct samples divided by the number of samples, rounded to a float. A
mean of several is rounded as well, so its last bit depends on how the correct samples are
distributed over the replicates, and of two equally good chains one would seem to be better.

The true mean is a fraction whose denominator is at most samples times replicates. Two such
fractions differ by 1 / `MOST_SAMPLES`**2 or more, which is far above all rounding errors. So the
fraction that is nearest to the rounded mean is the true one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from statistics import fmean

from tasearch.errors import quoted

MOST_SAMPLES = 10_000_000  # validation samples times replicates up to which means are exact
MOST_NAMED = 5  # classes in a sentence
ROUNDING = 1e-15  # above the rounding error of any mean of accuracies


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


def unseen_text(
    recalls: Sequence[float | None], class_names: Sequence[str], part: str = "validation"
) -> str:
    """Which classes a model finds no sample of, as the end of a sentence.

    Args:
        recalls: Recall of each class, 0..1; None for a class without samples.
        class_names: Names of the classes by number.
        part: The part of the data, "validation" or "test".

    Example:
        >>> unseen_text((0.99, 0.0), ("healthy", "sick"))
        "finds no validation sample of class 'sick' (recall 0)"
    """
    names = [quoted(class_names[i]) for i, recall in enumerate(recalls) if recall == 0]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    listed = f"class{'es' * (len(names) > 1)} {', '.join(names[:MOST_NAMED])}{more}"
    return f"finds no {part} sample of {listed} (recall 0)"
