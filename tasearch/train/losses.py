"""Losses of a model. A loss is a function `(logits, labels, targets, terms) -> scalar`.

logits   float (batch, classes), the model's
labels   int64 (batch,)
targets  float (batch, classes), an ancestor's raw logits; None without an ancestor
terms    what weighs the loss's terms

Every loss is (1 - alpha) times the cross-entropy of the labels, plus alpha times a distillation
term. None branches on values, so that weights may be tensors on the device.

Those of `LOSSES` also take several models at once: logits and targets (models, batch, classes),
labels (models, batch), and weights that are floats or (models,), to a value each, (models,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.chains.recipe import LABELS_ONLY, Recipe
from tasearch.errors import StudyError, raised

WARMUP = 20 / 240  # of all epochs, over which DKD's weight rises in its source
NON_TARGET = 8.0  # DKD's beta; its alpha is 1
EPSILON = 1e-7  # keeps a constant row from dividing by zero


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What weighs the terms of a loss: numbers, or tensors of one number for each model.

    Args:
        temperature: softens both sides of the distillation term.
        alpha: weight of the distillation term; 1 - alpha is that of the labels.
        ramp: 0 .. 1, how far a loss with a warm-up has warmed up.
    """

    temperature: float | Tensor
    alpha: float | Tensor
    ramp: float | Tensor = 1.0


Loss = Callable[[Tensor, Tensor, Tensor | None, Terms], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """The labels alone: mean negative log-likelihood."""
    if logits.ndim == 2:
        return F.cross_entropy(logits, labels)
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(dim=-1)


def kd(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² KL(teacher at T || model at T), the mean over samples.

    Hinton et al., 1503.02531, section 2: T² keeps the size of the gradient when T changes.
    """
    assert targets is not None
    return _mixed(logits, labels, _divergence(logits, targets, terms.temperature), terms)


def kd_std(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """`kd` of logits that are standardised over the classes first, so that scales do not matter.

    Sun et al., 2403.01427, algorithm 1; the standard deviation is the unbiased one.
    """
    assert targets is not None
    divergence = _divergence(_z_scores(logits), _z_scores(targets), terms.temperature)
    return _mixed(logits, labels, divergence, terms)


def dist(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² times what the probabilities' correlations lack of 1: of each sample, of each class.

    DIST (Huang et al., 2205.10536), equations 8 to 10, with beta = gamma = 1 within alpha.
    """
    assert targets is not None
    t, heat = terms.temperature, _each(terms.temperature)
    ours, theirs = F.softmax(logits / heat, dim=-1), F.softmax(targets / heat, dim=-1)
    between_classes = 1 - _pearson(ours, theirs, dim=-1).mean(dim=-1)
    within_classes = 1 - _pearson(ours, theirs, dim=-2).mean(dim=-1)
    return _mixed(logits, labels, t * t * (between_classes + within_classes), terms)


def dkd(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    """T² (TCKD + 8 NCKD), times the warm-up.

    Decoupled distillation (Zhao et al., 2203.08679), equation 7: the target class against all
    others, and the others among themselves.
    """
    assert targets is not None
    t, heat = terms.temperature, _each(terms.temperature)
    target = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    ours, theirs = F.log_softmax(logits / heat, dim=-1), F.log_softmax(targets / heat, dim=-1)
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
MANY_CLASSES = {
    "kd-std": "two standardised logits are always 0.71 and -0.71, whatever they were",
    "dist": "two probabilities of a sample always correlate fully",
    "dkd": "beside the target there is one class, and nothing to learn among one",
}


def ramp(epoch: int, epochs: int) -> float:
    """How far a loss with a warm-up has warmed up in an epoch (from 0) of so many."""
    return min(1.0, (epoch + 1) / max(1.0, WARMUP * epochs))


def dense_loss(
    loss: Loss, logits: Tensor, labels: Tensor, targets: Tensor, terms: Terms, kept: Tensor
) -> Tensor:
    """Dense guidance: the mean of a loss over the ancestors that are kept.

    Densely guided distillation (Son et al., 2009.08825) takes the sum; the mean keeps its balance
    between labels and teachers, and lets one learning rate serve serial and dense models.

    Args:
        loss: of one ancestor.
        logits: (batch, classes).
        labels: (batch,).
        targets: (ancestors, batch, classes).
        terms: of the loss.
        kept: float (ancestors,), 1 for those that count.

    Several models at once have their axis before the batch, in `kept` last.
    """
    parts = torch.stack([loss(logits, labels, target, terms) for target in targets])
    value: Tensor = (parts * kept).sum(dim=0) / kept.sum(dim=0)
    return value


def dropped(ancestors: int, steps: int, chance: float, generator: torch.Generator) -> Tensor:
    """float (steps, ancestors): 0 where a step does without an assistant; the teacher stays.

    Args:
        ancestors: the teacher first.
        steps: of an epoch.
        chance: of each assistant to be left out.
        generator: on CPU.
    """
    kept = (torch.rand(steps, ancestors, generator=generator) >= chance).float()
    kept[:, 0] = 1.0
    return kept


def check_loss(loss: Loss, name: str, recipe: Recipe, num_classes: int) -> None:
    """Try a loss on a batch of two.

    Raises:
        StudyError: where it raises, gives no scalar with a gradient, or means nothing for two
            classes.
    """
    if num_classes == 2 and name in MANY_CLASSES:
        raise StudyError(
            f"loss {name!r} should have more than two classes to compare, the data have 2: "
            f"{MANY_CLASSES[name]}; use 'kd'"
        )
    logits = torch.linspace(-1, 1, 2 * num_classes).reshape(2, num_classes).requires_grad_()
    labels = torch.tensor([0, num_classes - 1])
    terms = Terms(temperature=recipe.temperature, alpha=recipe.alpha)
    try:
        value = loss(logits, labels, logits.detach().flip(0), terms)
    except Exception as error:  # the user's loss may raise anything
        raise StudyError(
            f"loss {name!r} called with (logits, labels, targets, terms) raised {raised(error)}"
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise StudyError(f"loss {name!r} should give a scalar tensor with a gradient, gave {found}")


def _mixed(logits: Tensor, labels: Tensor, distillation: Tensor, terms: Terms) -> Tensor:
    labelled = cross_entropy(logits, labels, None, terms)
    return (1 - terms.alpha) * labelled + terms.alpha * distillation


def _divergence(logits: Tensor, targets: Tensor, t: float | Tensor) -> Tensor:
    """T² KL(targets || logits) at temperature T, the mean over samples."""
    heat = _each(t)
    ours, theirs = F.log_softmax(logits / heat, dim=-1), F.log_softmax(targets / heat, dim=-1)
    divergence: Tensor = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean(dim=-1)
    return t * t * divergence


def _each(weight: float | Tensor) -> float | Tensor:
    """A weight for each model, beside axes of batch and classes."""
    return weight[:, None, None] if isinstance(weight, Tensor) and weight.ndim else weight


def _z_scores(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(dim=-1, keepdim=True)
    return centred / (logits.std(dim=-1, keepdim=True) + EPSILON)


def _pearson(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Correlation of a and b along an axis; 0 where one of them never changes."""
    a, b = a - a.mean(dim=dim, keepdim=True), b - b.mean(dim=dim, keepdim=True)
    correlation: Tensor = (a * b).sum(dim=dim) / (a.norm(dim=dim) * b.norm(dim=dim) + EPSILON**2)
    return correlation
