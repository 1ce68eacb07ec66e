"""Losses of a pupil. A loss is a function `(logits, labels, targets, recipe) -> scalar`.

logits   float (batch, classes), the pupil's
labels   int64 (batch,)
targets  float (batch, classes), the ancestor's raw logits; None without an ancestor
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from tasearch.chain import LABELS_ONLY, Recipe

Loss = Callable[[Tensor, Tensor, Tensor | None, Recipe], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None, recipe: Recipe) -> Tensor:
    """The labels alone: mean negative log-likelihood."""
    return F.cross_entropy(logits, labels)


def kd(logits: Tensor, labels: Tensor, targets: Tensor | None, recipe: Recipe) -> Tensor:
    """(1 - a) CE + a T² KL(teacher at T || pupil at T), the mean over samples.

    Hinton et al., 1503.02531, section 2: T² keeps the size of the gradient when T changes.
    """
    assert targets is not None
    t, alpha = recipe.temperature, recipe.alpha
    divergence = F.kl_div(
        F.log_softmax(logits / t, dim=1),
        F.log_softmax(targets / t, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - alpha) * F.cross_entropy(logits, labels) + alpha * t * t * divergence


LOSSES: dict[str, Loss] = {LABELS_ONLY: cross_entropy, "kd": kd}
