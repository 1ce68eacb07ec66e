"""A model in training: its weights, its optimizer, and what a checkpoint keeps of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from tasearch.chains.recipe import Recipe
from tasearch.train.hidden import HiddenLoss
from tasearch.train.layout import keep_format
from tasearch.train.optimizer import OPTIMIZERS, Average, Flat


class State:
    """A model in training.

    Args:
        net: The model, on the device. It is changed in place: its parameters become views of flat
            tensors, and gradients pass through `nn.Flatten` in the images' memory format.
        recipe: The model's recipe.
        hidden: The loss on hidden layers of the model before, on the device, whose projections are
            trained with the model; None to learn from logits alone.

    Attributes:
        flat: The trainable parameters, in a few flat tensors.
        optimizer: The optimizer, with its state.
        average: Moving average of the weights; None where the recipe has none.
        epoch: Number of epochs done.
        rungs: Epochs at which the model was evaluated so far.
        curve: Validation accuracy at these epochs, 0..1.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, hidden: HiddenLoss | None = None) -> None:
        keep_format(net)
        self.net, self.recipe, self.hidden = net, recipe, hidden
        self.flat = Flat(net if hidden is None else nn.ModuleList([net, hidden]))
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.flat, recipe)
        self.average = Average(self.flat, recipe.ema) if recipe.ema is not None else None
        self.epoch = 0
        self.rungs: list[int] = []
        self.curve: list[float] = []

    @contextlib.contextmanager
    def result(self) -> Iterator[nn.Module]:
        """A context with the net that counts: with the averaged weights, if there is an average."""
        if self.average is not None:
            self.average.swap()
        try:
            yield self.net
        finally:
            if self.average is not None:
                self.average.swap()

    def optimizer_state(self) -> dict[str, list[Tensor]]:
        """The tensors of the optimizer and the average by name: one for each flat tensor."""
        average = {"average": self.average.values} if self.average is not None else {}
        return self.optimizer.state | average


def pack(state: State) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: weights, projections, optimizer state, average."""
    tensors = {f"net.{name}": t for name, t in state.net.state_dict().items()}
    if state.hidden is not None:
        tensors |= {f"hidden.{name}": t for name, t in state.hidden.state_dict().items()}
    for name, values in state.optimizer.state.items():
        tensors |= {f"optimizer.{i}.{name}": value for i, value in enumerate(values)}
    for index, value in enumerate(state.average.values if state.average else ()):
        tensors[f"average.{index}"] = value
    return tensors


def unpack(state: State, tensors: Mapping[str, Tensor]) -> None:
    """Restore a state from the tensors that `pack` returned."""
    for prefix, module in (("net.", state.net), ("hidden.", state.hidden)):
        if module is not None:
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            module.load_state_dict(own)
    for name, values in state.optimizer.state.items():
        for i, value in enumerate(values):
            value.copy_(tensors[f"optimizer.{i}.{name}"])
    for position, average in enumerate(state.average.values if state.average else ()):
        average.copy_(tensors[f"average.{position}"])
