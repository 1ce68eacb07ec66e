"""Weights of the classes in the cross-entropy with the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from tasearch.config.study import Study
from tasearch.errors import StudyError


def class_weights(study: Study, labels: Tensor, classes: int) -> Tensor | None:
    """The weight of each class, of mean 1 over the samples of the training set.

    "balanced" is n / (classes * n_c) for a class with n_c of n samples (King and Zeng, Logistic
    Regression in Rare Events Data, 2001; scikit-learn's class_weight="balanced"): all classes have
    the same weight in all. Weights that are given are divided by their mean over the samples, so
    that only their ratios count, and the balance with the distillation loss stays as it is.

    Args:
        study: The study.
        labels: Labels of the training set, int64 (samples,).
        classes: Number of classes.

    Returns:
        float32 (classes,); None if the study has no weights.

    Raises:
        StudyError: There is not one weight for each class.
    """
    given = study.training.class_weights
    if given == "none":
        return None
    counts = labels.bincount(minlength=classes).double()
    if given == "balanced":
        return (len(labels) / (classes * counts.clamp(min=1))).float()
    if len(given) != classes:
        raise StudyError(
            f"training.class_weights: should have a number for each of the {classes} classes, "
            f"found {len(given)} numbers"
        )
    own = torch.tensor(given, dtype=torch.float64, device=labels.device)
    return (own / (own @ counts / len(labels))).float()
