"""A student's quality on the held-out test set, from its logits. Pure."""

from __future__ import annotations

import math

from torch import Tensor

from tasearch.runs.quality import Quality
from tasearch.train.measured import is_proportion
from tasearch.train.metrics import Score, standard_error
from tasearch.train.metrics import accuracy as own_accuracy

BINS = 15  # of the confidence, as in Guo et al.


def measure_quality(
    logits: Tensor, labels: Tensor, teacher: Tensor | None, score: Score = own_accuracy
) -> Quality:
    """Measure how good predictions are.

    Args:
        logits: Logits of the student, float (samples, classes), at least one sample.
        labels: Labels, int64 (samples,).
        teacher: Logits of the teacher on the same samples, float (samples, classes); None if there
            is none.
        score: The metric of the study.

    Returns:
        The quality. The logarithms are taken in float64, so that large logits do no harm.
    """
    classes, predicted = logits.shape[1], logits.argmax(1)
    right = predicted == labels
    finite = bool(logits.isfinite().all())
    logs = logits.double().log_softmax(1)
    samples = labels.bincount(minlength=classes).tolist()
    hits = labels[right].bincount(minlength=classes).tolist()
    agreement = None if teacher is None else _fraction(predicted == teacher.argmax(1))
    return Quality(
        samples=len(labels),
        accuracy=_fraction(right),
        ece=_calibration_error(logs.exp().amax(1), right) if finite else None,
        nll=-float(logs.gather(1, labels[:, None]).mean()) if finite else None,
        agreement=agreement,
        class_samples=tuple(samples),
        class_accuracies=tuple(h / n if n else None for h, n in zip(hits, samples, strict=True)),
        **({} if score is own_accuracy else _scored(logits, labels, score)),
    )


def _scored(logits: Tensor, labels: Tensor, score: Score) -> dict[str, float | None]:
    """The score and its standard error; None where the metric is not defined."""
    value = float(score(logits, labels))
    if not math.isfinite(value):
        return {"score": None, "error": None}
    error = None if is_proportion(score) else standard_error(score, logits, labels)
    return {"score": value, "error": error}


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Expected calibration error (Guo et al., arXiv 1706.04599, equation 5).

    Bin m of M has the samples whose confidence is in ((m - 1) / M, m / M].

    Args:
        confidence: Probability of the predicted class, float64 (samples,).
        right: Whether the predicted class is the label, bool (samples,).
    """
    bins = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    gaps = confidence.new_zeros(BINS).index_add(0, bins, right.double() - confidence)
    return float(gaps.abs().sum()) / len(right)


def _fraction(found: Tensor) -> float:
    """The fraction of True."""
    return float(found.double().mean())
