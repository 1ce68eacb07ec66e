"""What pupils learn from, batch by batch: views, labels, soft targets, and the value of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tasearch.chain import Recipe, derived_seed
from tasearch.train.fuse import repeated
from tasearch.train.losses import LOSSES, Loss, Terms, dropped, guided_loss, ramp
from tasearch.train.state import Group
from tasearch.train.views import Views

BLOCK_BYTES = 8 * 2**20  # of samples gathered at once, for small batches


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a pupil learns from, and how.

    Args:
        views: the training part.
        y: int64 (samples,), its labels.
        targets: for a slot of the views, the teachers' logits on it, float16 (ancestors, samples,
            classes), the oldest ancestor first; None for labels alone.
        validation: x, float32 standardized (samples, *in_shape), and y.
        loss: what the recipe names.
        rungs: number of evaluations.
        bf16: whether forward passes run under bfloat16 autocast.
        noise: what seeds derive from.
    """

    views: Views
    y: Tensor
    targets: Callable[[int], Tensor] | None
    validation: tuple[Tensor, Tensor]
    loss: Loss
    rungs: int
    bf16: bool
    noise: tuple[int, ...]


Rows = tuple[Tensor, Tensor | None]  # labels, targets of each ancestor


class Desk:
    """Neighbours in a group who share a loss and a number of teachers, in one epoch.

    Args:
        seats: their place in the group.
        lessons: of the neighbours.
        recipes: likewise.
        targets: likewise, float16 (ancestors, samples, classes), or None for labels alone.
        orders: int64 (steps * batch,), of the samples, of each.
        epoch: from 0.
        steps: of the epoch.
        alone: whether tensors have no axis of pupils.
    """

    def __init__(
        self,
        seats: slice,
        lessons: Sequence[Lesson],
        recipes: Sequence[Recipe],
        targets: Sequence[Tensor | None],
        orders: Sequence[Tensor],
        epoch: int,
        steps: int,
        alone: bool,
    ) -> None:
        self._seats, self._lessons, self._orders, self._alone = seats, lessons, orders, alone
        first, device = recipes[0], lessons[0].y.device
        self._loss, self._own = lessons[0].loss, first.loss not in LOSSES
        self._targets = [t for t in targets if t is not None]
        self._kept: Tensor | None = None
        if self._targets and len(self._targets[0]) > 1:
            kept = [
                dropped(len(self._targets[0]), steps, recipe.drop, _chance(lesson, epoch, "drop"))
                for lesson, recipe in zip(lessons, recipes, strict=True)
            ]
            self._kept = (kept[0] if alone else torch.stack(kept, dim=2)).to(device)
        warm = ramp(epoch, first.epochs)
        each = [
            Terms(temperature=recipe.temperature, alpha=recipe.alpha, ramp=warm)
            for recipe in recipes
        ]
        self._each = each
        self._terms = each[0]
        if not alone:
            heat, weight = (
                torch.tensor([getattr(terms, name) for terms in each], device=device)
                for name in ("temperature", "alpha")
            )
            self._terms = Terms(temperature=heat, alpha=weight, ramp=warm)

    def rows(self, block: slice) -> Rows:
        """Labels ([pupils,] samples) and targets (ancestors, [pupils,] samples, classes)."""
        orders = [order[block] for order in self._orders]
        labels = [lesson.y[order] for lesson, order in zip(self._lessons, orders, strict=True)]
        targets = [t[:, order] for t, order in zip(self._targets, orders, strict=False)]
        if self._alone:
            return labels[0], targets[0].float() if targets else None
        return torch.stack(labels), torch.stack(targets, dim=1).float() if targets else None

    def value(self, logits: Tensor, rows: Rows, step: int) -> Tensor:
        """The loss of each pupil, (pupils,), or of the one alone, ()."""
        labels, targets = rows
        kept = None if self._kept is None else self._kept[step]
        if self._alone:
            return _value(self._loss, logits, labels, targets, self._terms, kept)
        logits = logits[self._seats]
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


class Epoch:
    """One epoch of a group's lessons.

    Args:
        group: who learns.
        lessons: of its pupils, in order; alike in views' shape, precision and batch size.
        epoch: from 0.
    """

    def __init__(self, group: Group, lessons: Sequence[Lesson], epoch: int) -> None:
        recipes = [state.recipe for state in group.states]
        first = lessons[0]
        samples, self._slot = len(first.views), first.views.slot(epoch)
        self._size = min(recipes[0].batch_size, samples)
        self.steps = samples // self._size  # a rest too small waits for another epoch's order
        drawn: dict[tuple[int, ...], Tensor] = {}
        for lesson in lessons:
            if lesson.noise not in drawn:
                order = torch.randperm(samples, generator=_chance(lesson, epoch, "order"))
                drawn[lesson.noise] = order[: self.steps * self._size].to(lesson.y.device)
        self._orders = [drawn[lesson.noise] for lesson in lessons]
        self._lessons = lessons
        self._desks = []
        start = 0
        targets = [lesson.targets(self._slot) if lesson.targets else None for lesson in lessons]
        kinds = [
            (recipe.loss, 0 if known is None else len(known))
            for recipe, known in zip(recipes, targets, strict=True)
        ]
        for _, neighbours in groupby(kinds):
            part = slice(start, start + len([*neighbours]))
            own = lessons[part], recipes[part], targets[part], self._orders[part]
            self._desks.append(Desk(part, *own, epoch, self.steps, alone=not group.fused))
            start = part.stop

    def batches(self) -> Iterator[tuple[Tensor, list[Rows]]]:
        """Inputs of all pupils side by side, and each desk's rows.

        Several batches are gathered at a time: a gather costs about the same call for one batch
        of a small data set as for all of them.
        """
        shape, size = self._lessons[0].views.shape, self._size
        most = size * max(1, BLOCK_BYTES // (size * 4 * math.prod(shape) * len(self._lessons)))
        for start in range(0, self.steps * size, most):
            block = slice(start, min(start + most, self.steps * size))
            x = self._inputs(block)
            rows = [desk.rows(block) for desk in self._desks]
            for a in range(0, len(x), size):
                yield (
                    x[a : a + size],
                    [
                        (y[..., a : a + size], None if t is None else t[..., a : a + size, :])
                        for y, t in rows
                    ],
                )

    def value(self, logits: Tensor, rows: list[Rows], step: int) -> Tensor:
        """The loss of each pupil, (pupils,), or of the one alone, ()."""
        found = [desk.value(logits, r, step) for desk, r in zip(self._desks, rows, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _inputs(self, block: slice) -> Tensor:
        seen: dict[int, Tensor] = {}
        parts = []
        for lesson, order in zip(self._lessons, self._orders, strict=True):
            if id(order) not in seen:
                seen[id(order)] = lesson.views.batch(order[block], self._slot)
            parts.append(seen[id(order)])
        return repeated(parts)


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
    return guided_loss(loss, logits, labels, targets, terms, kept)


def _chance(lesson: Lesson, epoch: int, what: str) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(what, *lesson.noise, epoch))
