"""Models in training: each alone, or a group of them as one wide model."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from tasearch.chains.recipe import Recipe
from tasearch.train.fast.norms import quicken
from tasearch.train.fast.stacking import pairs, widened
from tasearch.train.layout import image_format, keep_format
from tasearch.train.optimizer import OPTIMIZERS, Average, Flat, clip


class State:
    """A model in training; what a checkpoint holds.

    Args:
        net: on the device; changed in place: its parameters become views of flat ones, and what
            flattens images gives gradients back in their format.
        recipe: of the model.

    Attributes:
        epoch: epochs done.
        rungs: epochs at which it was evaluated so far.
        curve: validation accuracy at those.
    """

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        keep_format(net)
        quicken(net)
        self.net, self.recipe = net, recipe
        self.flat = Flat(net)
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.flat, recipe)
        self.average = Average(self.flat, recipe.ema) if recipe.ema is not None else None
        self.epoch = 0
        self.rungs: list[int] = []
        self.curve: list[float] = []

    @contextlib.contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The net with the weights that count: their average, where there is one."""
        if self.average is not None:
            self.average.swap()
        try:
            yield self.net
        finally:
            if self.average is not None:
                self.average.swap()

    def optimizer_state(self) -> dict[str, list[Tensor]]:
        """What the optimizer and the average keep, by name: a tensor for each flat one."""
        average = {"average": self.average.values} if self.average is not None else {}
        return self.optimizer.state | average


class Group:
    """Models of one architecture whose steps are made together.

    Args:
        states: at the same epoch, of recipes alike in all but loss, temperature, alpha and
            guidance;
            one may stand there several times, to fill slots.
        stacked: as one wide model; otherwise there is one model.
        live: of `new_live_state`, which others have left; None for one of their own.

    Attributes:
        live: what the steps change.
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
        """Give each model what has become of it, if its own state is not what the steps change."""
        if self.live is not self.states[0]:
            self._copy(inward=False)

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
        """Weights, buffers, and what optimizer and average keep of them."""
        nets = [state.net for state in self.states]
        if inward:
            _copy_counts(self.live, self.states[0])
        else:
            for state in self.states:
                _copy_counts(state, self.live)
        ours, theirs = (
            self.live.optimizer_state(),
            [state.optimizer_state() for state in self.states],
        )
        for wide, parts, apart in pairs(self.live.net, nets):
            _between([*wide] if apart else [wide] * len(parts), parts, inward=inward)
            if not isinstance(parts[0], nn.Parameter) or not parts[0].requires_grad:
                continue
            home = self.states[0].flat.home(parts[0])
            for name, values in ours.items():
                if values[home].ndim == 0:
                    continue
                within = Flat.within(wide, values[home])
                narrow = [
                    Flat.within(part, kept[name][home])
                    for part, kept in zip(parts, theirs, strict=True)
                ]
                _between([*within], narrow, inward=inward)


def _between(wide: Sequence[Tensor], parts: Sequence[Tensor], *, inward: bool) -> None:
    # backwards, so that a model who fills several slots is what the first of them made of it
    for large, part in reversed([*zip(wide, parts, strict=True)]):
        if inward:
            large.copy_(part)
        else:
            part.copy_(large)


def new_live_state(states: Sequence[State], *, stacked: bool) -> State:
    """What steps of such models, wide or alone, may change instead of their own states.

    Raises:
        CannotStack: where the wide model is not known.
        Exception: whatever copying a user's model raises.
    """
    net = states[0].net
    wide = widened(net, len(states)) if stacked else copy.deepcopy(net)
    if any(p.ndim == 4 for p in wide.parameters()):
        device = next(wide.parameters()).device
        wide = wide.to(memory_format=image_format(wide, device))  # type: ignore[call-overload]
    return State(wide, states[0].recipe)


def _copy_counts(state: State, example: State) -> None:
    """The single numbers that an optimizer keeps, which models have in common."""
    for name, values in example.optimizer.state.items():
        for own, value in zip(state.optimizer.state[name], values, strict=True):
            if value.ndim == 0:
                own.copy_(value)


def pack(state: State) -> dict[str, Tensor]:
    """A state's tensors by name."""
    tensors = {f"net.{name}": t for name, t in state.net.state_dict().items()}
    for name, values in state.optimizer.state.items():
        tensors |= {f"optimizer.{i}.{name}": value for i, value in enumerate(values)}
    for index, value in enumerate(state.average.values if state.average else ()):
        tensors[f"average.{index}"] = value
    return tensors


def unpack(state: State, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of `pack` back."""
    state.net.load_state_dict(
        {name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")}
    )
    for name, values in state.optimizer.state.items():
        for i, value in enumerate(values):
            value.copy_(tensors[f"optimizer.{i}.{name}"])
    for position, average in enumerate(state.average.values if state.average else ()):
        average.copy_(tensors[f"average.{position}"])
