"""A notice of a validation part that says little: of few samples, or without a class."""

from __future__ import annotations

import numpy as np

from tasearch.data import Dataset
from tasearch.errors import quoted

FEW = 20  # samples below which one is more than 5% of the accuracy
LISTED = 5  # classes that a notice names


def validation_notices(data: Dataset) -> list[str]:
    """What to know of a validation part that students cannot be well compared on.

    Args:
        data: The training set and the validation set.
    """
    count, notices = len(data.validation), list[str]()
    if count < FEW:
        samples = "1 sample" if count == 1 else f"{count} samples"
        notices.append(
            f"the validation part has {samples}, and one is {1 / count:.0%} of the accuracy by "
            f"which students are chosen: bring more samples, or make it a larger part of them "
            f"(data.validation, where the data bring none)"
        )
    absent = np.setdiff1d(np.arange(data.num_classes), data.validation.y).tolist()
    if absent:
        names = ", ".join(quoted(data.class_names[place]) for place in absent[:LISTED])
        more = f" and {len(absent) - LISTED:,} more" if len(absent) > LISTED else ""
        notices.append(
            f"the validation part has no sample of class{'es' * (len(absent) > 1)} {names}{more}: "
            f"how well students know {'it' if len(absent) == 1 else 'them'} counts for nothing"
        )
    return notices
