"""Losses of a model: functions `(logits, labels, targets, terms) -> scalar`.

logits   The model's logits, float (batch, classes).
labels   int64 (batch,); with mixup, shares of the classes, float (batch, classes). They are
         those of the first samples, if the last ones of a batch have none.
targets  An ancestor's raw logits, float (batch, classes); None for a model without ancestors.
terms    Weights of the loss's terms.

Every loss is (1 - alpha) times the cross-entropy of the labels, plus alpha times a distillation
term. No loss branches on values, because the weights may be tensors on the device.

The losses of `LOSSES` also take several models at once: logits and targets (models, batch,
classes), labels (models, batch[, classes]), and weights that are floats or (models,). They return
a value for each model, (models,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.chains.recipe import LABELS_ONLY

DKD_WARMUP = 20 / 240  # fraction of all epochs over which DKD's weight rises, as in its paper
NON_TARGET = 8.0  # DKD's beta; its alpha is 1
EPSILON = 1e-7  # avoids a division by zero where all logits of a sample are equal


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The weights of a loss's terms: numbers, or tensors of one number for each model.

    Args:
        temperature: Divisor of both sides' logits in the distillation term.
        alpha: Weight of the distillation term; the labels' weight is 1 - alpha.
        ramp: Factor 0..1 for a loss whose weight rises over the first epochs.
        class_weights: Weight of each class in the cross-entropy with the labels, float (classes,),
            of mean 1 over the training set; None where all are 1. The same for all models.
    """

    temperature: float | Tensor
    alpha: float | Tensor
    ramp: float | Tensor = 1.0
    class_weights: Tensor | None = None


Loss = Callable[[Tensor, Tensor, Tensor | None, Terms], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """Mean negative log-likelihood of the labels, times their class weights if there are any.

    Nothing is distilled. The sum is divided by the number of samples and not, as torch does, by the
    sum of the weights in the batch: a batch's loss is then an unbiased estimate of the loss over
    the training set, whichever classes are in it.
    """
    weights, labelled = terms.class_weights, labels.shape[logits.ndim - 2]
    if labelled < logits.shape[-2]:
        logits = logits[..., :labelled, :]
    if labels.is_floating_point():
        shares = labels if weights is None else labels * weights
        return -(shares * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean(dim=-1)
    if logits.ndim == 2 and weights is None:
        return F.cross_entropy(logits, labels)
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    if weights is not None:
        each = each * weights[labels.flatten()]
    return each.view(labels.shape).mean(dim=-1)


def kd(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² KL(teacher || model), both at temperature T; the mean over samples.

    Hinton et al., 1503.02531, section 2: the factor T² keeps the size of the gradient when T
    changes.
    """
    assert targets is not None
    return _mixed(logits, labels, _divergence(logits, targets, terms.temperature), terms)


def kd_std(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """`kd` of logits that are first standardized over the classes, so that scales do not matter.

    Sun et al., 2403.01427, algorithm 1, with the unbiased standard deviation.
    """
    assert targets is not None
    divergence = _divergence(_z_scores(logits), _z_scores(targets), terms.temperature)
    return _mixed(logits, labels, divergence, terms)


def dist(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² times (1 - correlation) of the probabilities, over classes plus over samples.

    DIST (Huang et al., 2205.10536), equations 8 to 10, with beta = gamma = 1 within alpha.
    """
    assert targets is not None
    t, temperature = terms.temperature, _each(terms.temperature)
    ours, theirs = F.softmax(logits / temperature, dim=-1), F.softmax(targets / temperature, dim=-1)
    between_classes = 1 - _pearson(ours, theirs, dim=-1).mean(dim=-1)
    within_classes = 1 - _pearson(ours, theirs, dim=-2).mean(dim=-1)
    return _mixed(logits, labels, t * t * (between_classes + within_classes), terms)


def dkd(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² (TCKD + 8 NCKD), times the warm-up factor.

    Decoupled distillation (Zhao et al., 2203.08679), equation 7: TCKD compares the target class
    with all other classes, NCKD the other classes with one another.
    """
    assert targets is not None
    t, temperature = terms.temperature, _each(terms.temperature)
    target = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    ours, theirs = (
        F.log_softmax(logits / temperature, dim=-1),
        F.log_softmax(targets / temperature, dim=-1),
    )
    our_rest, their_rest = (
        p.masked_fill(target, -torch.inf).logsumexp(dim=-1, keepdim=True) for p in (ours, theirs)
    )
    right = (theirs.exp() * (theirs - ours)).masked_fill(~target, 0).sum(dim=-1, keepdim=True)
    binary = right + their_rest.exp() * (their_rest - our_rest)
    weights = (theirs - their_rest).masked_fill(target, -torch.inf).exp()
    gaps = (theirs - their_rest - ours + our_rest).masked_fill(target, 0)
    others = (weights * gaps).sum(dim=-1).mean(dim=-1)
    divergence = binary.squeeze(-1).mean(dim=-1) + NON_TARGET * others
    return _mixed(logits, labels, terms.ramp * t * t * divergence, terms)


LOSSES: dict[str, Loss] = {
    LABELS_ONLY: cross_entropy,
    "kd": kd,
    "kd-std": kd_std,
    "dist": dist,
    "dkd": dkd,
}


def ramp(epoch: int, epochs: int) -> float:
    """The warm-up factor 0..1 of a loss in an epoch (from 0) of `epochs` epochs.

    >>> [ramp(epoch, 36) for epoch in (0, 1, 2, 35)]
    [0.3333333333333333, 0.6666666666666666, 1.0, 1.0]
    """
    return min(1.0, (epoch + 1) / max(1.0, DKD_WARMUP * epochs))


def training_loss(
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    terms: Terms,
    kept: Tensor | None,
) -> Tensor:
    """The loss of a model on a batch, whatever it learns from.

    Args:
        loss: The loss that the recipe names.
        logits: The model's logits, float (batch, classes).
        labels: int64 (batch,).
        targets: The ancestors' logits, float (ancestors, batch, classes); None for labels alone.
        terms: Weights of the loss's terms.
        kept: float (ancestors,), 1 for the ancestors that count; None where there are fewer than
            two.

    Returns:
        A scalar; with an axis of models before the batch, a value for each model, (models,).
    """
    if targets is None:
        return loss(logits, labels, None, terms)
    if kept is None:
        return loss(logits, labels, targets[0], terms)
    return dense_loss(loss, logits, labels, targets, terms, kept)


def dense_loss(
    loss: Loss, logits: Tensor, labels: Tensor, targets: Tensor, terms: Terms, kept: Tensor
) -> Tensor:
    """Dense guidance: the mean of a loss over the ancestors that are kept.

    Densely guided distillation (Son et al., 2009.08825) takes the sum; the mean keeps its balance
    between labels and teachers, and suits the same learning rate as serial guidance.

    With several models at once, their axis is before the batch; in `kept` it is the last.

    Args:
        loss: The loss with a single ancestor.
        logits: The model's logits, float (batch, classes).
        labels: int64 (batch,).
        targets: The ancestors' logits, float (ancestors, batch, classes).
        terms: Weights of the loss's terms.
        kept: float (ancestors,), 1 for the ancestors that count.
    """
    parts = torch.stack([loss(logits, labels, target, terms) for target in targets])
    value: Tensor = (parts * kept).sum(dim=0) / kept.sum(dim=0)
    return value


def kept_ancestors(
    ancestors: int, steps: int, dropout: float, generator: torch.Generator
) -> Tensor:
    """The ancestors that count in each step: float (steps, ancestors), 1 for those and 0 else.

    Args:
        ancestors: Number of ancestors; the first is the teacher, which always counts.
        steps: Number of steps of the epoch.
        dropout: Probability that a step leaves an assistant out.
        generator: Source of randomness, on CPU.
    """
    kept = (torch.rand(steps, ancestors, generator=generator) >= dropout).float()
    kept[:, 0] = 1.0
    return kept


def _mixed(logits: Tensor, labels: Tensor, distillation: Tensor, terms: Terms) -> Tensor:
    labelled = cross_entropy(logits, labels, None, terms)
    return (1 - terms.alpha) * labelled + terms.alpha * distillation


def _divergence(logits: Tensor, targets: Tensor, t: float | Tensor) -> Tensor:
    """T² KL(targets || logits) at temperature T, the mean over samples."""
    temperature = _each(t)
    ours, theirs = (
        F.log_softmax(logits / temperature, dim=-1),
        F.log_softmax(targets / temperature, dim=-1),
    )
    divergence: Tensor = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean(dim=-1)
    return t * t * divergence


def _each(weight: float | Tensor) -> float | Tensor:
    """A weight for each model, with axes of length 1 for batch and classes."""
    return weight[:, None, None] if isinstance(weight, Tensor) and weight.ndim else weight


def _z_scores(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(dim=-1, keepdim=True)
    return centred / (logits.std(dim=-1, keepdim=True) + EPSILON)


def _pearson(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Correlation of a and b along an axis; 0 where one of them is constant."""
    a, b = a - a.mean(dim=dim, keepdim=True), b - b.mean(dim=dim, keepdim=True)
    correlation: Tensor = (a * b).sum(dim=dim) / (a.norm(dim=dim) * b.norm(dim=dim) + EPSILON**2)
    return correlation
