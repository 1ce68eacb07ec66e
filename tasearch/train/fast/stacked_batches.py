"""What several models learn from in one epoch: batches for a stacked model, and the loss of each.

Also for a single model whose steps are recorded: then everything that differs between epochs and
recipes lies in tensors, which the next epoch overwrites.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import torch
from torch import Tensor

from tasearch.chains.recipe import Recipe
from tasearch.train.batches import (
    TrainingJob,
    batch_size,
    blocks,
    epoch_samples,
    labelled_of,
)
from tasearch.train.fast.loss_groups import Known, LossGroup, Supervision
from tasearch.train.fast.stacking import side_by_side
from tasearch.train.online import OnlineTeachers


@dataclass(frozen=True, kw_only=True)
class StackedBatch:
    """The samples of one step of all models.

    Args:
        x: Standardized inputs of all models side by side, (batch, models * channels, ...).
        supervision: Labels ([models,] batch) and ancestors' logits (ancestors, [models,] batch,
            classes), for each `LossGroup`.
    """

    x: Tensor
    supervision: list[Supervision]


class StackedPlan:
    """The batches of one epoch of several models.

    Args:
        recipes: The recipe of each model.
        jobs: What each model learns from; alike in samples, labels, precision and batch size.
        epoch: Number of the epoch, from 0.
        stacked: Whether the models are one stacked model; otherwise there is one model.
        recorded: Whether the weights of the losses' terms are tensors; see `LossGroup`.

    Attributes:
        steps: Number of batches; samples that do not fill another one wait for the next epoch.
        kind: Value that is equal for plans which `copy_from` can exchange.
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
        self._labelled, self._size, self.steps = batch_size(recipes[0], jobs[0])
        self._stacked, self._y = stacked, jobs[0].y
        phase = jobs[0].views.phase(epoch)
        # models with the same seeds see equal samples, which are gathered once
        sources = {job.seed_parts: job for job in jobs}
        self._source_of = [[*sources].index(job.seed_parts) for job in jobs]
        self._views = [job.views for job in sources.values()]
        self._view_numbers = [views.numbers(phase) for views in self._views]
        self._orders = [epoch_samples(recipes[0], job, epoch) for job in sources.values()]
        targets = [job.targets(epoch) if job.targets else None for job in jobs]
        if recorded:
            targets = self._tables(targets)
        kinds = [
            (recipe.loss, 0 if known is None else len(known))
            for recipe, known in zip(recipes, targets, strict=True)
        ]
        self._loss_groups = [
            LossGroup(
                slots,
                recipes[slots],
                jobs[slots],
                targets[slots],
                epoch,
                self.steps,
                stacked=stacked,
                recorded=recorded,
            )
            for slots in _equal_neighbors(kinds)
        ]
        self.kind = self._labelled, self._size, tuple(self._source_of), tuple(kinds)

    def _tables(self, targets: Sequence[Known | None]) -> list[Known | None]:
        """Logits of online teachers on the samples of the epoch: no graph can hold their models.

        Args:
            targets: What teaches each model.

        Returns:
            The same, with float32 (ancestors, samples, classes) in place of online teachers; 0 for
            samples that the epoch does not show.
        """

        @cache
        def table(source: int, teachers: OnlineTeachers) -> Tensor:
            order, found = self._orders[source], list[Tensor]()
            views, numbers = self._views[source], self._view_numbers[source]
            for block in blocks(self.steps, self._size, 4 * math.prod(views.shape)):
                x = views.batch(order[block], numbers)
                found.append(teachers.logits(x, self._size))
            logits = torch.cat(found, dim=1)
            whole = logits.new_zeros(len(logits), len(views), logits.shape[-1])
            return whole.index_copy(1, order, logits)

        return [
            table(source, known) if isinstance(known, OnlineTeachers) else known
            for source, known in zip(self._source_of, targets, strict=True)
        ]

    def batches(self) -> Iterator[StackedBatch]:
        """All batches of the epoch, in order."""
        sample_bytes = 4 * math.prod(self._views[0].shape) * len(self._source_of)
        for block in blocks(self.steps, self._size, sample_bytes):
            yield from self._gather([order[block] for order in self._orders])

    def batches_at(self, steps: Tensor) -> Iterator[StackedBatch]:
        """The batches of some steps, which are gathered at once.

        Args:
            steps: Numbers of the steps, int64 (count,), on the device.
        """
        orders = [order.view(self.steps, -1) for order in self._orders]
        yield from self._gather([order.index_select(0, steps).view(-1) for order in orders])

    def losses(self, logits: Tensor, batch: StackedBatch, step: int | Tensor) -> Tensor:
        """The loss of each model, (models,); () where they are not stacked.

        Args:
            logits: (models, batch, classes); (batch, classes) where they are not stacked.
            batch: The batch that the logits are for.
            step: Number of the step within the epoch, from 0.
        """
        found = [
            group.losses(logits, supervision, step)
            for group, supervision in zip(self._loss_groups, batch.supervision, strict=True)
        ]
        return found[0] if len(found) == 1 else torch.cat(found)

    def with_own_tensors(self) -> StackedPlan:
        """This plan, after a copy of all tensors that others read: `copy_from` may change it."""
        for group in self._loss_groups:
            group.copy_targets()
        return self

    def copy_from(self, other: StackedPlan) -> None:
        """Overwrite this plan's tensors with those of another plan of the same kind."""
        for own, new in zip(self._tensors(), other._tensors(), strict=True):
            own.copy_(new)

    def _tensors(self) -> list[Tensor]:
        groups = [tensor for group in self._loss_groups for tensor in group.tensors()]
        return [*self._orders, *self._view_numbers, *groups]

    def _gather(self, samples: Sequence[Tensor]) -> Iterator[StackedBatch]:
        """Batches of the samples that are given for each order."""
        sources = [*zip(self._views, samples, self._view_numbers, strict=True)]
        inputs = [views.batch(own, numbers) for views, own, numbers in sources]
        shape = self._labelled, self._size
        found = [v.labels(self._y, labelled_of(own, *shape), n) for v, own, n in sources]
        by_model = [samples[source] for source in self._source_of]
        labels_of = [found[source] for source in self._source_of]

        @cache  # models with the same samples and teachers ask once
        def logits(source: int, teachers: OnlineTeachers) -> Tensor:
            return teachers.logits(inputs[source], self._size)

        given = []
        for group in self._loss_groups:
            sources_of = self._source_of[group.slots]
            given.append(
                group.supervision(
                    by_model[group.slots],
                    labels_of[group.slots],
                    lambda i, teachers, own=sources_of: logits(own[i], teachers),  # type: ignore[misc]
                )
            )
        x = side_by_side([inputs[source] for source in self._source_of])
        for start in range(0, len(x), self._size):
            end, batch = start + self._size, start // self._size
            there = slice(batch * self._labelled, (batch + 1) * self._labelled)
            cut = (slice(None), there) if self._stacked else there
            own = [
                (labels[cut], None if t is None else t[..., start:end, :]) for labels, t in given
            ]
            yield StackedBatch(x=x[start:end], supervision=own)


def _equal_neighbors(values: Sequence[object]) -> Iterator[slice]:
    """The runs of equal values in a sequence."""
    start = 0
    for _, run in groupby(values):
        end = start + len([*run])
        yield slice(start, end)
        start = end
