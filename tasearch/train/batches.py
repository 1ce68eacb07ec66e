"""What a model learns from, batch by batch: augmented samples, labels and soft targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.chains.keys import derived_seed
from tasearch.chains.recipe import Recipe
from tasearch.train.augmentation import AugmentedData, ViewedData
from tasearch.train.lengths import batch_lengths, by_length
from tasearch.train.losses import Loss, Terms, kept_ancestors, ramp
from tasearch.train.metrics import Score, accuracy
from tasearch.train.online import OnlineTeachers

BLOCK_BYTES = 8 * 2**20  # of samples that are gathered by one call


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What a model learns from, and how.

    Args:
        views: The augmented training set, on the device; behind it samples without labels, if there
            are some.
        y: Labels of the training set, int64 (labelled,).
        targets: Function from the number of an epoch, from 0, to the logits of its teachers on its
            phase of the augmentation, float16 (ancestors, samples, classes), the oldest ancestor
            first, or to the teachers, which are called on each batch; None to learn from labels
            alone.
        validation: The validation set: standardized inputs, float32 (samples, *in_shape), or what
            gives them by batch; and labels, int64 (samples,).
        loss: The loss that the recipe names.
        rungs: Number of evaluations, evenly spaced over the epochs.
        bf16: Whether forward passes run under bfloat16 autocast.
        width: Width of the model.
        seed_parts: What seeds are derived from: the study's seed, the number of the replicate, and
            the width, or the identity of a size.
        unlabelled: Share of samples without labels in each batch, 0 for none.
        score: The metric of the study.
        class_weights: Weight of each class in the cross-entropy with the labels, float32
            (classes,), of mean 1 over the training set; None where all are 1.
        lengths: Length of each text of the training set, int64 (labelled,) on CPU, by which batches
            are made and cut; None for other samples.
        hidden: Function from the number of an epoch to the model whose hidden layers the model
            learns from, which is called on each batch; None to learn from logits alone.
    """

    views: ViewedData
    y: Tensor
    targets: Callable[[int], Tensor | OnlineTeachers] | None
    validation: tuple[Tensor | AugmentedData, Tensor]
    loss: Loss
    rungs: int
    bf16: bool
    width: int
    seed_parts: tuple[int | str, ...]
    unlabelled: float = 0.0
    score: Score = accuracy
    class_weights: Tensor | None = None
    lengths: Tensor | None = None
    hidden: Callable[[int], nn.Module] | None = None

    def seed(self, purpose: str, epoch: int) -> int:
        """The seed for one kind of random numbers in an epoch."""
        return derived_seed(purpose, *self.seed_parts, epoch)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The samples of one optimizer step, and the ancestors that it learns from.

    Args:
        x: Standardized inputs, float32 (batch, *in_shape).
        labels: int64 (batch,); with mixup, shares of the classes, float32 (batch, classes). They
            are those of the first samples, if the last ones have none.
        targets: The teachers' logits, float32 (ancestors, batch, classes); None for labels alone.
        kept: float32 (ancestors,), 1 for the ancestors that count in this step and 0 for the
            others; None where there are fewer than two.
    """

    x: Tensor
    labels: Tensor
    targets: Tensor | None
    kept: Tensor | None


class EpochPlan:
    """The batches of one epoch of one model.

    Args:
        recipe: The model's recipe.
        job: What the model learns from.
        epoch: Number of the epoch, from 0.

    Attributes:
        steps: Number of batches; samples that do not fill another one wait for the next epoch.
        terms: Weights of the loss's terms in this epoch.
    """

    def __init__(self, recipe: Recipe, job: TrainingJob, epoch: int) -> None:
        self._job = job
        self._labelled, self._size, self.steps = batch_size(recipe, job)
        phase = job.views.phase(epoch)
        self._view_numbers = job.views.numbers(phase)
        self._order = epoch_samples(recipe, job, epoch)
        self._cuts = _batch_lengths(job, self._order, self._size)
        self._targets = job.targets(epoch) if job.targets else None
        ancestors = 0 if self._targets is None else len(self._targets)
        self._kept = epoch_dropout(recipe, job, epoch, self.steps, ancestors)
        self.terms = epoch_terms(recipe, job, epoch)

    def batches(self) -> Iterator[Batch]:
        """All batches of the epoch, in order."""
        job, step = self._job, 0
        for block in blocks(self.steps, self._size, 4 * math.prod(job.views.shape)):
            samples = self._order[block]
            x = job.views.batch(samples, self._view_numbers)
            known = labelled_of(samples, self._labelled, self._size)
            labels = job.views.labels(job.y, known, self._view_numbers)
            targets = self._soft_targets(samples, x)
            for i, start in enumerate(range(0, len(x), self._size)):
                own = slice(start, start + self._size)
                yield Batch(
                    x=x[own] if self._cuts is None else x[own, : self._cuts[step]].contiguous(),
                    labels=labels[i * self._labelled : (i + 1) * self._labelled],
                    targets=None if targets is None else targets[:, own],
                    kept=None if self._kept is None else self._kept[step],
                )
                step += 1

    def _soft_targets(self, samples: Tensor, x: Tensor) -> Tensor | None:
        """The teachers' logits on samples of whole batches, float32 (ancestors, samples, classes).

        Args:
            samples: Indices of the samples, int64 (samples,).
            x: Their views, (samples, *in_shape).
        """
        known = self._targets
        if isinstance(known, OnlineTeachers):
            return known.logits(x, self._size)
        return None if known is None else known[:, samples].float()


def batch_size(recipe: Recipe, job: TrainingJob) -> tuple[int, int, int]:
    """The labelled samples of a batch, all its samples, and the batches of an epoch.

    An epoch goes once through the labelled samples; those without labels fill each batch up.
    """
    return batch_shape(recipe.batch_size, len(job.y), job.unlabelled)


def batch_shape(batch_size: int, samples: int, unlabelled: float) -> tuple[int, int, int]:
    """The same as `batch_size`, of numbers.

    Args:
        batch_size: The study's batch size.
        samples: Number of labelled samples.
        unlabelled: Share of samples without labels in each batch, 0 for none.
    """
    size = min(batch_size, samples)
    others = min(max(round(unlabelled * size), 1), size - 1) if unlabelled else 0
    return size - others, size, samples // (size - others)


def epoch_samples(recipe: Recipe, job: TrainingJob, epoch: int) -> Tensor:
    """The samples of all batches of an epoch, one batch after another, int64 (steps * size,).

    In each batch the labelled samples come first; texts of a batch are alike in length. No sample
    without a label is shown twice in an epoch before all are shown.
    """
    labelled, size, steps = batch_size(recipe, job)
    order = epoch_order(job, epoch)[: steps * labelled]
    if job.lengths is not None:
        generator = torch.Generator().manual_seed(job.seed("batches", epoch))
        return by_length(order.cpu(), job.lengths, size, generator).to(order.device)
    if labelled == size:
        return order
    first, count, needed = len(job.y), len(job.views) - len(job.y), steps * (size - labelled)
    generator = torch.Generator().manual_seed(job.seed("unlabelled", epoch))
    rounds = [torch.randperm(count, generator=generator) for _ in range(-(-needed // count))]
    others = first + torch.cat(rounds)[:needed].to(job.y.device)
    return torch.cat([order.view(steps, -1), others.view(steps, -1)], dim=1).view(-1)


def _batch_lengths(job: TrainingJob, order: Tensor, size: int) -> list[int] | None:
    """The length that each batch of texts is cut to; None for other samples."""
    if job.lengths is None:
        return None
    return batch_lengths(order.cpu(), job.lengths, size, job.views.shape[0])


def labelled_of(samples: Tensor, labelled: int, size: int) -> Tensor:
    """The labelled samples of whole batches, which come first in each.

    Args:
        samples: Samples of some batches, int64 (batches * size,).
        labelled: Labelled samples of a batch.
        size: All samples of a batch.
    """
    return samples if labelled == size else samples.view(-1, size)[:, :labelled].reshape(-1)


def epoch_order(job: TrainingJob, epoch: int) -> Tensor:
    """The order in which an epoch goes through the training set: int64 (labelled,).

    It is drawn on CPU, so that it is the same on every device.
    """
    generator = torch.Generator().manual_seed(job.seed("order", epoch))
    return torch.randperm(len(job.y), generator=generator).to(job.y.device)


def epoch_terms(recipe: Recipe, job: TrainingJob, epoch: int) -> Terms:
    """The weights of a loss's terms in an epoch."""
    return Terms(
        temperature=recipe.temperature,
        alpha=recipe.alpha,
        ramp=ramp(epoch, recipe.epochs),
        class_weights=job.class_weights,
    )


def epoch_dropout(
    recipe: Recipe, job: TrainingJob, epoch: int, steps: int, ancestors: int
) -> Tensor | None:
    """The ancestors that count in each step, float32 (steps, ancestors), as `kept_ancestors` draws
    them; None for fewer than two ancestors."""
    if ancestors < 2:
        return None
    generator = torch.Generator().manual_seed(job.seed("drop", epoch))
    return kept_ancestors(ancestors, steps, recipe.teacher_dropout, generator).to(job.y.device)


def blocks(steps: int, size: int, sample_bytes: int) -> Iterator[slice]:
    """Parts of an epoch's order that are gathered by one call, each of whole batches.

    On a small data set, one call for many batches costs about as much as one call for one batch.

    Args:
        steps: Number of batches.
        size: Samples of a batch.
        sample_bytes: Bytes of a gathered sample.
    """
    samples = size * max(1, BLOCK_BYTES // (size * sample_bytes))
    for start in range(0, steps * size, samples):
        yield slice(start, min(start + samples, steps * size))
