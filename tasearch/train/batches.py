"""What models learn from, batch by batch: views, labels, soft targets, and the value of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.chains.recipe import Recipe
from tasearch.train.augmentation import AugmentedData
from tasearch.train.fast.stacking import repeated
from tasearch.train.losses import LOSSES, Loss, Terms, dense_loss, dropped, ramp
from tasearch.train.shuffle import shuffled

BLOCK_BYTES = 8 * 2**20  # of samples gathered at once, for small batches


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What a model learns from, and how.

    Args:
        views: the training part.
        y: int64 (samples,), its labels.
        targets: for a phase of the views, the teachers' logits on it, float16 (ancestors, samples,
            classes), the oldest ancestor first; None for labels alone.
        validation: x, float32 standardized (samples, *in_shape), and y.
        loss: what the recipe names.
        rungs: number of evaluations.
        bf16: whether forward passes run under bfloat16 autocast.
        width: of the model.
        noise: what seeds derive from, with the width.
    """

    views: AugmentedData
    y: Tensor
    targets: Callable[[int], Tensor] | None
    validation: tuple[Tensor, Tensor]
    loss: Loss
    rungs: int
    bf16: bool
    width: int
    noise: tuple[int, ...]

    def seed(self, what: str, epoch: int) -> int:
        """Of some chance in an epoch."""
        return derived_seed(what, *self.noise, self.width, epoch)


Rows = tuple[Tensor, Tensor | None]  # labels, targets of each ancestor
Batch = tuple[Tensor, list[Rows]]  # inputs of all models side by side, each loss_group's rows


class LossGroup:
    """Neighbours in a group who share a loss and a number of teachers, in one epoch.

    Args:
        slots: their place in the group.
        jobs: of the group.
        recipes: likewise.
        targets: likewise, float16 (ancestors, samples, classes), or None for labels alone.
        epoch: from 0.
        steps: of the epoch.
        alone: whether tensors have no axis of models.
        recorded: whether the terms of losses are tensors, for steps that are recorded once and then
            made for others, too.
    """

    def __init__(
        self,
        slots: slice,
        jobs: Sequence[TrainingJob],
        recipes: Sequence[Recipe],
        targets: Sequence[Tensor | None],
        epoch: int,
        steps: int,
        *,
        alone: bool,
        recorded: bool,
    ) -> None:
        self.slots, self._alone = slots, alone
        self._labels = [job.y for job in jobs]
        first, device = recipes[0], jobs[0].y.device
        self._loss, self._own = jobs[0].loss, first.loss not in LOSSES
        self._targets = [t for t in targets if t is not None]
        self._kept: Tensor | None = None
        if self._targets and len(self._targets[0]) > 1:
            kept = [
                dropped(len(self._targets[0]), steps, recipe.teacher_dropout, _chance(job, epoch))
                for job, recipe in zip(jobs, recipes, strict=True)
            ]
            self._kept = (kept[0] if alone else torch.stack(kept, dim=2)).to(device)
        warm = ramp(epoch, first.epochs)
        each = [
            Terms(temperature=recipe.temperature, alpha=recipe.alpha, ramp=warm)
            for recipe in recipes
        ]
        self._each = each
        self._terms = each[0]
        self._weights: list[Tensor] = []
        if recorded or not alone:
            heat, weight = (
                torch.tensor([getattr(terms, name) for terms in each], device=device)
                for name in ("temperature", "alpha")
            )
            rise = torch.tensor(warm, device=device) if recorded else warm
            self._terms = Terms(temperature=heat, alpha=weight, ramp=rise)
            if recorded:
                assert isinstance(rise, Tensor)
                self._weights = [heat, weight, rise]
                self._each = [
                    Terms(temperature=h, alpha=w, ramp=rise)
                    for h, w in zip(heat, weight, strict=True)
                ]
            if alone:
                self._terms = self._each[0]

    def tensors(self) -> list[Tensor]:
        """All that other epochs, models and recipes have otherwise."""
        return [*self._targets, *([] if self._kept is None else [self._kept]), *self._weights]

    def part(self) -> None:
        """From the stored targets, which others use."""
        self._targets = [targets.clone() for targets in self._targets]

    def rows(self, samples: Sequence[Tensor]) -> Rows:
        """Labels ([models,] samples) and targets (ancestors, [models,] samples, classes) of each
        model's samples."""
        labels = [y[own] for y, own in zip(self._labels, samples, strict=True)]
        targets = [t[:, own] for t, own in zip(self._targets, samples, strict=False)]
        if self._alone:
            return labels[0], targets[0].float() if targets else None
        return torch.stack(labels), torch.stack(targets, dim=1).float() if targets else None

    def value(self, logits: Tensor, rows: Rows, step: int | Tensor) -> Tensor:
        """The loss of each model, (models,), or of the one alone, ()."""
        labels, targets = rows
        kept = None if self._kept is None else _at(self._kept, step)
        if self._alone:
            return _value(self._loss, logits, labels, targets, self._terms, kept)
        logits = logits[self.slots]
        if not self._own:
            return _value(self._loss, logits, labels, targets, self._terms, kept)
        found = [
            _value(
                self._loss,
                logits[i],
                labels[i],
                None if targets is None else targets[:, i],
                self._each[i],
                None if kept is None else kept[:, i],
            )
            for i in range(len(labels))
        ]
        return torch.stack(found)


class EpochPlan:
    """One epoch of a group's jobs.

    Args:
        recipes: of the models, in order.
        jobs: likewise; alike in views' shape, precision and batch size.
        epoch: from 0.
        stacked: whether the models are one wide model; otherwise there is one.
        recorded: see `LossGroup`.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        jobs: Sequence[TrainingJob],
        epoch: int,
        *,
        stacked: bool,
        recorded: bool = False,
    ) -> None:
        self._shape, samples = jobs[0].views.shape, len(jobs[0].views)
        self._size = min(recipes[0].batch_size, samples)
        self.steps = samples // self._size  # a rest too small waits for another epoch's order
        seen = {job.noise: job for job in jobs}
        self._views = [job.views for job in seen.values()]
        self._places = [[*seen].index(job.noise) for job in jobs]
        phase = jobs[0].views.phase(epoch)
        self._numbers = [views.numbers(phase) for views in self._views]
        self._orders = []
        for job in seen.values():
            order = shuffled(samples, job.seed("order", epoch), job.y.device)
            self._orders.append(order[: self.steps * self._size])
        self._loss_groups = []
        start = 0
        targets = [job.targets(phase) if job.targets else None for job in jobs]
        kinds = [
            (recipe.loss, 0 if known is None else len(known))
            for recipe, known in zip(recipes, targets, strict=True)
        ]
        for _, group in groupby(kinds):
            part = slice(start, start + len([*group]))
            own = jobs[part], recipes[part], targets[part]
            loss_group = LossGroup(
                part, *own, epoch, self.steps, alone=not stacked, recorded=recorded
            )
            self._loss_groups.append(loss_group)
            start = part.stop
        self.kind = self._size, tuple(self._places), tuple(kinds)

    def batches(self) -> Iterator[Batch]:
        """All of the epoch.

        Several batches are gathered at a time: a gather costs about the same call for one batch
        of a small data set as for all of them.
        """
        size = self._size
        row = 4 * math.prod(self._shape) * len(self._places)  # bytes
        most = size * max(1, BLOCK_BYTES // (size * row))
        for start in range(0, self.steps * size, most):
            block = slice(start, min(start + most, self.steps * size))
            yield from self._gathered([order[block] for order in self._orders])

    def block(self, steps: Tensor) -> Iterator[Batch]:
        """The same of some steps, int64 (count,), on the device; gathered at once."""
        orders = [order.view(self.steps, -1) for order in self._orders]
        yield from self._gathered([order.index_select(0, steps).view(-1) for order in orders])

    def value(self, logits: Tensor, rows: list[Rows], step: int | Tensor) -> Tensor:
        """The loss of each model, (models,), or of the one alone, ()."""
        found = [
            loss_group.value(logits, r, step)
            for loss_group, r in zip(self._loss_groups, rows, strict=True)
        ]
        return found[0] if len(found) == 1 else torch.cat(found)

    def parted(self) -> EpochPlan:
        """Itself, after all that `become` changes is its own."""
        for loss_group in self._loss_groups:
            loss_group.part()
        return self

    def become(self, other: EpochPlan) -> None:
        """Another epoch of the same kind, perhaps of other models, in the same tensors."""
        for own, new in zip(self._tensors(), other._tensors(), strict=True):
            own.copy_(new)

    def _tensors(self) -> list[Tensor]:
        return [
            *self._orders,
            *self._numbers,
            *(t for loss_group in self._loss_groups for t in loss_group.tensors()),
        ]

    def _gathered(self, samples: Sequence[Tensor]) -> Iterator[Batch]:
        """Batches of the samples, given of each order."""
        kinds = zip(self._views, samples, self._numbers, strict=True)
        shown = [views.batch(own, numbers) for views, own, numbers in kinds]
        each = [samples[place] for place in self._places]
        rows = [loss_group.rows(each[loss_group.slots]) for loss_group in self._loss_groups]
        x, size = repeated([shown[place] for place in self._places]), self._size
        for a in range(0, len(x), size):
            cut = [
                (y[..., a : a + size], None if t is None else t[..., a : a + size, :])
                for y, t in rows
            ]
            yield x[a : a + size], cut


def _at(values: Tensor, step: int | Tensor) -> Tensor:
    """One of several values; a step on the device is not asked for by the host."""
    return values[step] if isinstance(step, int) else values.index_select(0, step)[0]


def _value(
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    terms: Terms,
    kept: Tensor | None,
) -> Tensor:
    if targets is None:
        return loss(logits, labels, None, terms)
    if kept is None:
        return loss(logits, labels, targets[0], terms)
    return dense_loss(loss, logits, labels, targets, terms, kept)


def _chance(job: TrainingJob, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(job.seed("drop", epoch))
