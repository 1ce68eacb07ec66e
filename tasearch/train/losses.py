"""Losses of a pupil. A loss is a function `(logits, labels, targets, recipe) -> scalar`.

logits   float (batch, classes), the pupil's
labels   int64 (batch,)
targets  float (batch, classes), the ancestor's raw logits; None without an ancestor
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.chain import LABELS_ONLY, Recipe
from tasearch.errors import StudyError, first_line

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


def check_loss(loss: Loss, name: str, recipe: Recipe, num_classes: int) -> None:
    """Try a loss on a batch of two.

    Raises:
        StudyError: where it raises, or gives no scalar with a gradient.
    """
    logits = torch.linspace(-1, 1, 2 * num_classes).reshape(2, num_classes).requires_grad_()
    labels = torch.tensor([0, num_classes - 1])
    try:
        value = loss(logits, labels, logits.detach().flip(0), recipe)
    except Exception as error:  # the user's loss may raise anything
        raise StudyError(
            f"loss {name!r} called with (logits, labels, targets, recipe) "
            f"raised {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise StudyError(f"loss {name!r} should give a scalar tensor with a gradient, gave {found}")


LOSSES: dict[str, Loss] = {LABELS_ONLY: cross_entropy, "kd": kd}
