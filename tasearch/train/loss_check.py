"""A loss tried before a search: what it gives, and whether the data suit it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.chains.recipe import Recipe
from tasearch.config.view_rules import ONE_LABEL
from tasearch.errors import StudyError, raised
from tasearch.train.losses import Loss, Terms

MANY_CLASSES = {
    "kd-std": "two standardised logits are always 0.71 and -0.71, whatever they were",
    "dist": "two probabilities of a sample always correlate fully",
    "dkd": "beside the target there is one class, and nothing to learn among one",
}


def check_loss(
    loss: Loss,
    name: str,
    recipe: Recipe,
    num_classes: int,
    *,
    shares: bool = False,
    unlabelled: bool = False,
) -> None:
    """Try a loss on a batch of two samples.

    Args:
        loss: The loss.
        name: Its name.
        recipe: A recipe that uses it.
        num_classes: Number of classes.
        shares: Whether labels are shares of the classes, as with mixup.
        unlabelled: Whether the last samples of a batch may have no labels.

    Raises:
        StudyError: If the loss raises, returns no scalar with a gradient, or means nothing for
            data of two classes.
    """
    if num_classes == 2 and name in MANY_CLASSES:
        raise StudyError(
            f"loss {name!r} should have more than two classes to compare, the data have 2: "
            f"{MANY_CLASSES[name]}; use 'kd'"
        )
    if unlabelled and name in ONE_LABEL:
        raise StudyError(
            f"loss {name!r} compares the label of each sample with the other classes, and the data "
            f"have samples without labels: leave one of both out"
        )
    logits = torch.linspace(-1, 1, 2 * num_classes).reshape(2, num_classes).requires_grad_()
    labels = torch.tensor([0, num_classes - 1])
    if shares:
        labels = 0.5 * F.one_hot(labels, num_classes) + 0.5 / num_classes
    labels = labels[:1] if unlabelled else labels
    terms = Terms(temperature=recipe.temperature, alpha=recipe.alpha)
    try:
        value = loss(logits, labels, logits.detach().flip(0), terms)
    except Exception as error:  # a user's loss may raise anything
        raise StudyError(
            f"loss {name!r} called with (logits, labels, targets, terms) raised {raised(error)}"
            + ("; with training.mixup labels are shares of classes" if shares else "")
            + ("; only the first len(labels) samples have labels" if unlabelled else "")
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise StudyError(f"loss {name!r} should give a scalar tensor with a gradient, gave {found}")
