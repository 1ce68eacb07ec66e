"""How good a student is on the held-out test set, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tasearch.runs.accuracies import mean_accuracy


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A student's quality on the held-out test set, or its mean over several replicates.

    Args:
        samples: Number of test samples.
        accuracy: Fraction of the samples whose predicted class is their label, 0..1.
        ece: Expected calibration error, 0..1: how far the confidence in the predicted class is from
            the accuracy, mean over the samples, in 15 bins of equal width (Guo et al.,
            arXiv 1706.04599, equation 5). None where a logit is not finite.
        nll: Negative log-likelihood of the labels in nats, mean over the samples; None where a
            logit is not finite.
        agreement: Fraction of the samples for which the student and the teacher predict the same
            class, 0..1; None if there is no teacher to compare with.
        score: Score by the study's metric, if that is not the accuracy; None if it is, or if the
            metric is not defined on these samples.
        error: Its standard error on these samples; None for a proportion of samples.
        class_samples: Number of test samples of each class.
        class_accuracies: Accuracy on the samples of each class (its recall), 0..1; None for a class
            without samples.
    """

    samples: int
    accuracy: float
    ece: float | None
    nll: float | None
    agreement: float | None
    class_samples: tuple[int, ...]
    class_accuracies: tuple[float | None, ...]
    score: float | None = None
    error: float | None = None

    @property
    def by_accuracy(self) -> list[tuple[int, float]]:
        """The number and the accuracy of each class that has samples, the worst first."""
        known = [(i, a) for i, a in enumerate(self.class_accuracies) if a is not None]
        return sorted(known, key=lambda found: found[1])

    def as_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The values under the names that they have in metrics.json.

        Args:
            class_names: Names of the classes by number.
        """
        classes = zip(class_names, self.class_samples, self.class_accuracies, strict=True)
        scored = {} if self.score is None else {"score": self.score}
        return {
            "accuracy": self.accuracy,
            **scored,
            "samples": self.samples,
            "ece": self.ece,
            "nll": self.nll,
            "agreement_with_teacher": self.agreement,
            "per_class": [
                {"class": i, "name": name, "samples": samples, "accuracy": recall, "recall": recall}
                for i, (name, samples, recall) in enumerate(classes)
            ],
        }


def mean_quality(found: Sequence[Quality | None]) -> Quality | None:
    """The mean over replicates, value by value; None if there is no replicate.

    Args:
        found: The quality of each replicate on the same test set; None where training failed.
    """
    known = [quality for quality in found if quality is not None]
    if not known:
        return None
    classes = zip(*(quality.class_accuracies for quality in known), strict=True)
    return Quality(
        samples=known[0].samples,
        accuracy=mean_accuracy(quality.accuracy for quality in known),
        ece=_mean(quality.ece for quality in known),
        nll=_mean(quality.nll for quality in known),
        agreement=_mean(quality.agreement for quality in known),
        class_samples=known[0].class_samples,
        class_accuracies=tuple(map(_mean, classes)),
        score=_mean(quality.score for quality in known),
        error=_mean(quality.error for quality in known),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
