"""A student's quality in words."""

from __future__ import annotations

from collections.abc import Sequence

from tasearch.errors import shown
from tasearch.runs.quality import Quality


def quality_text(quality: Quality, class_names: Sequence[str]) -> str:
    """What else is known of a student whose accuracy on the test set is known, in one line.

    Args:
        quality: Quality on the test set.
        class_names: Names of the classes by number.

    Example:
        >>> quality_text(Quality(samples=8, accuracy=0.75, ece=0.012, nll=0.0824, agreement=None,
        ...     class_samples=(4, 4), class_accuracies=(1.0, 0.5)), ["cat", "dog"])
        'calibration error 1.2%, nll 0.082, worst class dog: 50.0%'
    """
    parts = []
    if quality.ece is not None:
        parts.append(f"calibration error {quality.ece:.1%}")
    if quality.nll is not None:
        parts.append(f"nll {quality.nll:.2g}")
    if quality.agreement is not None:
        parts.append(f"agrees with the teacher on {quality.agreement:.1%}")
    number, accuracy = quality.by_accuracy[0]
    return ", ".join([*parts, f"worst class {shown(class_names[number])}: {accuracy:.1%}"])
