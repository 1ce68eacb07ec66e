"""A notice where the largest class explains the accuracy, before anything is spent."""

from __future__ import annotations

import numpy as np

from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import quoted
from tasearch.pareto.metric import ACCURACY_NAME

LARGE = 0.8  # share of the largest class at which the accuracy says little of the others


def majority_notices(study: Study, data: Dataset) -> list[str]:
    """What to know of data that are mostly of one class; nothing with another metric.

    Args:
        study: The study.
        data: Its training set and its validation set.
    """
    largest = int(np.bincount(data.train.y).argmax())
    share = float((data.validation.y == largest).mean())
    if study.objective.metric != ACCURACY_NAME or share < LARGE:
        return []
    name = quoted(data.class_names[largest])
    return [
        f"{share:.1%} of the validation part are of class {name}, so always guessing it is right "
        f"in {share:.1%}: the accuracy says little of the other classes; [objective] metric = "
        f'"balanced-accuracy" counts all classes alike, and [training] class_weights = "balanced" '
        f"trains for it"
    ]
