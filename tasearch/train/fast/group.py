"""Models of one architecture whose optimizer steps are made together, as one stacked model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tasearch.train.fast.norms import fuse_norms
from tasearch.train.fast.stacked_batches import StackedBatch, StackedPlan
from tasearch.train.fast.stacking import stacked_model, tensor_pairs
from tasearch.train.layout import image_format, to_format
from tasearch.train.optimizer import Flat, clip
from tasearch.train.state import State


class Group:
    """Models of one architecture whose steps are made together.

    Args:
        states: The models, at the same epoch. Their recipes are alike in everything but loss,
            temperature, alpha, guidance, teacher dropout and teacher epoch. A model may be listed
            several times, to fill slots.
        stacked: Whether they train as one stacked model; otherwise there is one model.
        live: A state from `new_live_state` that no group uses any more; None to make one.

    Attributes:
        live: The state that the steps change.
    """

    def __init__(
        self, states: Sequence[State], *, stacked: bool, live: State | None = None
    ) -> None:
        self.states, self.stacked = list(states), stacked
        if live is None:
            live = new_live_state(states, stacked=True) if stacked else states[0]
        self.live = live
        if live is not states[0]:
            self._copy(inward=True)

    def hand_back(self) -> None:
        """Copy the trained weights and the optimizer's state to each model's own state."""
        if self.live is not self.states[0]:
            self._copy(inward=False)

    def step(
        self,
        plan: StackedPlan,
        batch: StackedBatch,
        step: int | Tensor,
        *,
        bf16: bool,
        layout: torch.memory_format,
    ) -> Tensor:
        """Make one optimizer step of all models, at the rates that the optimizer has.

        Args:
            plan: The epoch that the batch belongs to.
            batch: The samples to learn from.
            step: Number of the step within the epoch, from 0; int64 (1,) on the device if the
                step is recorded.
            bf16: Whether the forward pass runs under bfloat16 autocast.
            layout: Memory format of the inputs.

        Returns:
            The loss of each model before the step, (models,); () where they are not stacked.
        """
        live, largest = self.live, self.states[0].recipe.clip
        with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=bf16):
            logits = self.by_model(live.net(to_format(batch.x, layout)))
        losses = plan.losses(logits.float(), batch, step)
        live.flat.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        if largest is not None:
            self.clip(largest)
        live.optimizer.step()
        return losses.detach()

    def by_model(self, logits: Tensor) -> Tensor:
        """The logits of each model.

        Args:
            logits: The logits of the live net, (batch, models * classes).

        Returns:
            (models, batch, classes); (batch, classes) where the models are not stacked.
        """
        if not self.stacked:
            return logits
        return logits.view(len(logits), len(self.states), -1).transpose(0, 1)

    def clip(self, largest: float) -> None:
        """Scale each model's gradient down to a norm of at most `largest`."""
        if not self.stacked:
            clip(self.live.flat, largest)
            return
        grads = [p.grad for p in self.live.net.parameters() if p.grad is not None]
        parts = [grad.view(len(self.states), -1, *grad.shape[1:]) for grad in grads]
        squares = [part.square().flatten(1).sum(1) for part in parts]
        scale = (largest / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)
        for part in parts:
            part.mul_(scale.view(-1, *[1] * (part.ndim - 1)))

    @torch.no_grad()
    def _copy(self, *, inward: bool) -> None:
        """Copy weights, buffers, optimizer state and average between the models and the live state.

        Args:
            inward: Whether to copy to the live state; otherwise from it.
        """
        nets = [state.net for state in self.states]
        if inward:
            _copy_counts(self.live, self.states[0])
        else:
            for state in self.states:
                _copy_counts(state, self.live)
        for wide, parts, per_model in tensor_pairs(self.live.net, nets):
            _copy_slots([*wide] if per_model else [wide] * len(parts), parts, inward=inward)
            if isinstance(parts[0], nn.Parameter) and parts[0].requires_grad:
                self._copy_optimizer_state(wide, parts, inward=inward)

    def _copy_optimizer_state(self, wide: Tensor, parts: list[Tensor], *, inward: bool) -> None:
        """Copy what optimizer and average keep of one parameter of the live net."""
        home = self.states[0].flat.home(parts[0])
        own = [state.optimizer_state() for state in self.states]
        for name, values in self.live.optimizer_state().items():
            if values[home].ndim == 0:
                continue
            narrow = [
                Flat.within(part, kept[name][home]) for part, kept in zip(parts, own, strict=True)
            ]
            _copy_slots([*Flat.within(wide, values[home])], narrow, inward=inward)


def new_live_state(states: Sequence[State], *, stacked: bool) -> State:
    """A state that steps of such models may change instead of the models' own states.

    Raises:
        CannotStack: If the stacked form of the model is not known.
        Exception: Whatever copying a user's model raises.
    """
    net = states[0].net
    live = stacked_model(net, len(states)) if stacked else copy.deepcopy(net)
    if any(p.ndim == 4 for p in live.parameters()):
        device = next(live.parameters()).device
        live = live.to(memory_format=image_format(live, device))  # type: ignore[call-overload]
    fuse_norms(live)
    return State(live, states[0].recipe)


def _copy_slots(wide: Sequence[Tensor], parts: Sequence[Tensor], *, inward: bool) -> None:
    """Copy between the slots of a stacked tensor and the models' own tensors."""
    # backwards: a model that fills several slots must end as its first slot
    for slot, part in reversed([*zip(wide, parts, strict=True)]):
        if inward:
            slot.copy_(part)
        else:
            part.copy_(slot)


def _copy_counts(state: State, example: State) -> None:
    """Copy the single numbers that an optimizer keeps, which all models of a group share."""
    for name, values in example.optimizer.state.items():
        for own, value in zip(state.optimizer.state[name], values, strict=True):
            if value.ndim == 0:
                own.copy_(value)
