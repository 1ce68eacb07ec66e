"""The models of a stacked model which share a loss: what they learn from, and the loss of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tasearch.chains.recipe import Recipe
from tasearch.train.batches import TrainingJob, epoch_dropout, epoch_terms
from tasearch.train.losses import LOSSES, Terms, training_loss
from tasearch.train.online import OnlineTeachers

Known = Tensor | OnlineTeachers  # of all samples, or who is asked batch by batch
Supervision = tuple[Tensor, Tensor | None]  # labels, and the logits of each ancestor


class LossGroup:
    """Models in adjacent slots which share a loss and a number of ancestors, in one epoch.

    Args:
        slots: The slots of the models.
        recipes: The recipe of each model.
        jobs: What each model learns from.
        targets: The ancestors' logits for each model, float16 (ancestors, samples, classes), or the
            ancestors themselves; None for labels alone.
        epoch: Number of the epoch, from 0.
        steps: Number of steps of the epoch.
        stacked: Whether tensors have an axis of models; otherwise there is one model.
        recorded: Whether the weights of the loss's terms are tensors, as steps need them that are
            recorded once and replayed for other epochs and recipes.
    """

    def __init__(
        self,
        slots: slice,
        recipes: Sequence[Recipe],
        jobs: Sequence[TrainingJob],
        targets: Sequence[Known | None],
        epoch: int,
        steps: int,
        *,
        stacked: bool,
        recorded: bool,
    ) -> None:
        self.slots, self._stacked = slots, stacked
        self._loss, self._is_own = jobs[0].loss, recipes[0].loss not in LOSSES
        self._targets = [known for known in targets if known is not None]
        self._kept = self._epoch_dropout(recipes, jobs, epoch, steps)
        each = [epoch_terms(r, job, epoch) for r, job in zip(recipes, jobs, strict=True)]
        self._set_terms(each, jobs[0].y.device, recorded=recorded)

    def _epoch_dropout(
        self, recipes: Sequence[Recipe], jobs: Sequence[TrainingJob], epoch: int, steps: int
    ) -> Tensor | None:
        """The ancestors that count in each step, float32 (steps, ancestors[, models])."""
        ancestors = len(self._targets[0]) if self._targets else 0
        drawn = [
            epoch_dropout(recipe, job, epoch, steps, ancestors)
            for recipe, job in zip(recipes, jobs, strict=True)
        ]
        kept = [own for own in drawn if own is not None]
        if not kept:
            return None
        return torch.stack(kept, dim=2) if self._stacked else kept[0]

    def _set_terms(self, each: list[Terms], device: torch.device, *, recorded: bool) -> None:
        """Keep the weights of the loss's terms, as one value for all models and for each."""
        ramp = each[0].ramp
        same = {"class_weights": each[0].class_weights}  # as in all hops of a study
        temperature, alpha = (
            torch.tensor([getattr(terms, name) for terms in each], device=device)
            for name in ("temperature", "alpha")
        )
        self._weights: list[Tensor] = []
        if recorded:
            ramp = torch.tensor(ramp, device=device)
            self._weights = [temperature, alpha, ramp]
            each = [
                Terms(temperature=t, alpha=a, ramp=ramp, **same)
                for t, a in zip(temperature, alpha, strict=True)
            ]
        together = Terms(temperature=temperature, alpha=alpha, ramp=ramp, **same)
        self._each, self._terms = each, together if self._stacked else each[0]

    def tensors(self) -> list[Tensor]:
        """Everything that differs between epochs, models and recipes."""
        return [*self._tables, *([] if self._kept is None else [self._kept]), *self._weights]

    def copy_targets(self) -> None:
        """Replace the ancestors' logits, which others read as well, by copies of its own."""
        self._targets = [targets.clone() for targets in self._tables]

    @property
    def _tables(self) -> list[Tensor]:
        """The ancestors' logits for each model, where they are of all samples."""
        return [known for known in self._targets if isinstance(known, Tensor)]

    def supervision(
        self,
        samples: Sequence[Tensor],
        labels: Sequence[Tensor],
        ask: Callable[[int, OnlineTeachers], Tensor],
    ) -> Supervision:
        """Labels and ancestors' logits.

        Args:
            samples: The samples of each model, int64 (samples,).
            labels: Their labels for each model, (samples[, classes]).
            ask: Function from the number of a model in this group, and its ancestors, to their
                logits on its samples, float32 (ancestors, samples, classes).

        Returns:
            Labels, ([models,] samples[, classes]), and logits, float32 (ancestors, [models,]
            samples, classes).
        """
        targets = [
            known[:, samples[i]] if isinstance(known, Tensor) else ask(i, known)
            for i, known in enumerate(self._targets)
        ]
        if not self._stacked:
            return labels[0], targets[0].float() if targets else None
        return torch.stack([*labels]), torch.stack(targets, dim=1).float() if targets else None

    def losses(self, logits: Tensor, supervision: Supervision, step: int | Tensor) -> Tensor:
        """The loss of each model, (models,); () where they are not stacked.

        Args:
            logits: The logits of all models in the stacked model, (models, batch, classes).
            supervision: Labels and ancestors' logits of this group.
            step: Number of the step within the epoch, from 0.
        """
        labels, targets = supervision
        kept = None if self._kept is None else _at(self._kept, step)
        if not self._stacked:
            return training_loss(self._loss, logits, labels, targets, self._terms, kept)
        logits = logits[self.slots]
        if not self._is_own:
            return training_loss(self._loss, logits, labels, targets, self._terms, kept)
        found = [  # a user's own loss knows no axis of models
            training_loss(
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


def _at(values: Tensor, step: int | Tensor) -> Tensor:
    """The value of a step; a step that is a tensor stays on the device."""
    return values[step] if isinstance(step, int) else values.index_select(0, step)[0]
