"""What a loss and a metric of the user's must do, tried on random logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tasearch.config.study import Study
from tasearch.train.loss_check import check_loss
from tasearch.train.losses import Loss, Terms

BATCH = 6
LARGE = 30.0  # a logit's size that a loss must be finite for
ROUNDING = 1e-4  # relative, of a float32 sum in another order


def check_loss_function(loss: Loss, *, num_classes: int = 10) -> None:
    """Check a loss: `loss(logits, labels, targets, terms) -> scalar`.

    The loss is a finite scalar with a gradient, also for large logits; it changes none of its
    arguments, gives the same value twice, and does not depend on the order of the samples.

    Args:
        loss: The loss function; see `tasearch.train.losses`.
        num_classes: Length of the logits, at least 3.

    Raises:
        StudyError: The loss raises, or gives no scalar with a gradient.
        AssertionError: Another rule is broken; the message says which.

    Example:
        >>> from tasearch.train.losses import kd
        >>> check_loss_function(kd)
    """
    recipe = Study().teacher_recipe()
    assert recipe is not None
    check_loss(loss, "loss", recipe, num_classes)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(BATCH) % num_classes
    terms = Terms(temperature=4.0, alpha=0.9)
    for scale in (1.0, LARGE):
        logits, targets = (
            scale * torch.randn(BATCH, num_classes, generator=generator) for _ in range(2)
        )
        kept = logits.clone(), labels.clone(), targets.clone()
        value, gradient = _value(loss, logits, labels, targets, terms)
        finite = bool(value.isfinite()) and bool(gradient.isfinite().all())
        assert finite, f"loss and gradient should be finite for logits of size {scale:g}"
        unchanged = all(map(torch.equal, (logits, labels, targets), kept))
        assert unchanged, "the loss should change none of its arguments"
        assert bool(gradient.any()), "the gradient of the loss should not be zero"
        again, _ = _value(loss, logits, labels, targets, terms)
        assert torch.equal(value, again), "the loss should give the same value twice"
        turned = torch.arange(BATCH).flip(0)
        other, _ = _value(loss, logits[turned], labels[turned], targets[turned], terms)
        close = torch.allclose(value, other, rtol=ROUNDING, atol=ROUNDING)
        assert close, "the loss should not depend on the order of the samples"


def check_metric_function(
    metric: Callable[[Tensor, Tensor], float | Tensor], *, num_classes: int = 10
) -> None:
    """Check a metric: `metric(logits, labels) -> float`.

    It is a finite number, more for perfect predictions than where all logits are equal; it changes
    none of its arguments, gives the same value twice, and does not depend on the order of the
    samples.

    Args:
        metric: The metric; see `tasearch.train.metrics`.
        num_classes: Length of the logits, at least 2.

    Raises:
        AssertionError: A rule is broken; the message says which.

    Example:
        >>> from tasearch.train.metrics import macro_f1
        >>> check_metric_function(macro_f1)
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(BATCH * num_classes) % num_classes
    for scale in (1.0, LARGE):
        logits = scale * torch.randn(len(labels), num_classes, generator=generator)
        kept = logits.clone(), labels.clone()
        value = float(metric(logits, labels))
        assert np.isfinite(value), f"the metric should be finite, found {value}"
        unchanged = all(map(torch.equal, (logits, labels), kept))
        assert unchanged, "the metric should change none of its arguments"
        again = float(metric(logits, labels))
        assert value == again, "the metric should give the same value twice"
        other = float(metric(logits.flip(0), labels.flip(0)))
        close = abs(value - other) <= ROUNDING * max(1.0, abs(value))
        assert close, "the metric should not depend on the order of the samples"
    perfect = LARGE * torch.nn.functional.one_hot(labels, num_classes).float()
    best, guess = (float(metric(logits, labels)) for logits in (perfect, 0 * perfect))
    assert best > guess, (
        f"more should be better, but perfect predictions give {best:.4g} and equal logits "
        f"{guess:.4g}"
    )


def _value(
    loss: Loss, logits: Tensor, labels: Tensor, targets: Tensor, terms: Terms
) -> tuple[Tensor, Tensor]:
    """The loss, (), and its gradient by the logits, (samples, classes)."""
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels, targets, terms)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient
