"""Optimizers on flat parameters.

A net of ten layers has some thirty small tensors, and a call on one of them costs more than its
arithmetic. So all weights that decay are one tensor, all others are another, and so are their
gradients: an update, a norm, an average or a reset is one call for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tasearch.chains.recipe import Recipe
from tasearch.models.numerics import rounded_up

ALIGNED = 16  # float32 numbers in 64 bytes, the alignment that vector units load fastest
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's parameters, with torch's default values


class Flat:
    """A net's trainable parameters, moved to flat tensors of which they become views.

    Args:
        net: The net, changed in place; values, names and memory formats stay.

    Attributes:
        decayed: Flat tensors of the parameters that decay: matrices and kernels.
        undecayed: Flat tensors of the others: weights of norms, and biases.
    """

    def __init__(self, net: nn.Module) -> None:
        groups: dict[tuple[bool, torch.dtype], list[nn.Parameter]] = {}
        for parameter in net.parameters():
            if parameter.requires_grad:
                key = (parameter.ndim > 1, parameter.dtype)
                groups.setdefault(key, []).append(parameter)
        flats = {key: _flatten(parameters) for key, parameters in groups.items()}
        self.decayed = [flat for (matrix, _), flat in flats.items() if matrix]
        self.undecayed = [flat for (matrix, _), flat in flats.items() if not matrix]

    @property
    def tensors(self) -> list[nn.Parameter]:
        """All flat tensors."""
        return self.decayed + self.undecayed

    def home(self, parameter: Tensor) -> int:
        """Index, in `tensors`, of the flat tensor that a parameter is a view of."""
        place = parameter.untyped_storage().data_ptr()
        return [flat.untyped_storage().data_ptr() for flat in self.tensors].index(place)

    @staticmethod
    def within(parameter: Tensor, like: Tensor) -> Tensor:
        """The part of `like`, which has the layout of a flat tensor, at a parameter's place."""
        return like.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place: the parameters' gradients are views of these."""
        for flat in self.tensors:
            assert flat.grad is not None
            flat.grad.zero_()


def _flatten(parameters: list[nn.Parameter]) -> nn.Parameter:
    starts, length = [], 0
    for parameter in parameters:
        starts.append(length)
        length += rounded_up(parameter.numel(), ALIGNED)
    first = parameters[0]
    flat = torch.zeros(length, dtype=first.dtype, device=first.device)
    grad = torch.zeros_like(flat)
    for start, parameter in zip(starts, parameters, strict=True):
        shape, stride = parameter.shape, torch.empty_like(parameter).stride()
        view = flat.as_strided(shape, stride, start)
        view.copy_(parameter.detach())
        parameter.data = view
        parameter.grad = grad.as_strided(shape, stride, start)
    merged = nn.Parameter(flat)
    merged.grad = grad
    return merged


class Optimizer(ABC):
    """Updates flat parameters in place, by torch's fused kernels.

    `torch.optim` calls the same kernels, but takes twice the time for small tensors, and imports a
    compiler, which costs each worker most of a second.

    Args:
        flat: The parameters, with their gradients.
        recipe: Recipe with the learning rate, and the weight decay of matrices and kernels.
        momentum: Momentum of the gradient; 0 for none, and then it stays 0.
        names: Names of the tensors that the optimizer keeps for each flat tensor.

    Attributes:
        rate: The learning rate; a number, or a tensor () that is read at each step.
        momentum: The momentum, which is Adam's first beta. The fused kernels take a number; with a
            tensor (), ordinary operations compute the same.
        has_momentum: Whether there is any momentum.
        state: The tensors that the optimizer keeps by name, one for each flat tensor.
    """

    def __init__(self, flat: Flat, recipe: Recipe, momentum: float, names: Sequence[str]) -> None:
        self.rate: float | Tensor = recipe.learning_rate
        self.momentum: float | Tensor = momentum
        self._weights = [t.detach() for t in flat.tensors]
        self._grads = [t.grad for t in flat.tensors if t.grad is not None]  # every tensor has one
        self.has_momentum = momentum > 0
        self.state = {name: [torch.zeros_like(t) for t in self._weights] for name in names}
        border = len(flat.decayed)
        groups = (slice(border), recipe.weight_decay), (slice(border, None), 0.0)
        self._groups = [(part, decay) for part, decay in groups if self._weights[part]]

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights once."""
        for part, decay in self._groups:
            self._update(part, decay)

    @abstractmethod
    def _update(self, part: slice, decay: float) -> None:
        """Update the flat tensors of a part, which have one weight decay."""


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 1711.05101, algorithm 2)."""

    def __init__(self, flat: Flat, recipe: Recipe) -> None:
        super().__init__(flat, recipe, BETA1, ("exp_avg", "exp_avg_sq"))
        self.state["step"] = [torch.zeros((), device=t.device) for t in self._weights]

    def _update(self, part: slice, decay: float) -> None:
        steps = self.state["step"][part]
        torch._foreach_add_(steps, 1)
        weights, grads = self._weights[part], self._grads[part]
        means, squares = (self.state[name][part] for name in ("exp_avg", "exp_avg_sq"))
        if isinstance(self.momentum, Tensor):
            rate, beta = self.rate, self.momentum
            for w, grad, mean, square, step in zip(
                weights, grads, means, squares, steps, strict=True
            ):
                w.mul_(1 - rate * decay)
                mean.lerp_(grad, 1 - beta)
                square.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
                done = step.double()  # in float32, 1 - 0.999 loses four digits
                spread = (square / (1 - BETA2**done)).sqrt_().add_(EPSILON)
                w.sub_(rate / (1 - beta**done) * mean / spread)
            return
        torch._fused_adamw_(
            weights,
            grads,
            means,
            squares,
            [],
            steps,
            lr=self.rate,
            beta1=self.momentum,
            beta2=BETA2,
            weight_decay=decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov's momentum; plain if the momentum is 0."""

    def __init__(self, flat: Flat, recipe: Recipe) -> None:
        names = ("momentum_buffer",) if recipe.momentum else ()
        super().__init__(flat, recipe, recipe.momentum, names)

    def _update(self, part: slice, decay: float) -> None:
        weights, grads = self._weights[part], self._grads[part]
        buffers = self.state.get("momentum_buffer", [])[part]
        if isinstance(self.momentum, Tensor):
            for w, grad, buffer in zip(weights, grads, buffers, strict=True):
                grad = grad + decay * w
                buffer.mul_(self.momentum).add_(grad)
                w.sub_(self.rate * (grad + self.momentum * buffer))
            return
        torch._fused_sgd_(
            weights,
            grads,
            buffers,
            weight_decay=decay,
            momentum=self.momentum,
            lr=self.rate,
            dampening=0.0,
            nesterov=self.has_momentum,
            maximize=False,
            is_first_step=False,  # a buffer of zeros gives the same
        )


OPTIMIZERS: dict[str, Callable[[Flat, Recipe], Optimizer]] = {"adamw": AdamW, "sgd": SGD}


def set_rates(optimizer: Optimizer, rate: float | Tensor, momentum: float | Tensor | None) -> None:
    """Set the learning rate and the momentum of the next step.

    Args:
        optimizer: The optimizer.
        rate: The learning rate.
        momentum: The momentum; None to leave it. An optimizer without momentum ignores it.
    """
    optimizer.rate = rate
    if momentum is not None and optimizer.has_momentum:
        optimizer.momentum = momentum


class Average:
    """An exponential moving average of flat weights, which follows them faster at first.

    Args:
        flat: The weights.
        decay: Weight of the old average in an update, once it is warmed up.

    Attributes:
        values: The averages, one for each flat tensor.
    """

    def __init__(self, flat: Flat, decay: float) -> None:
        self._live, self._decay = [t.detach() for t in flat.tensors], decay
        self.values = [t.clone() for t in self._live]

    def weight(self, step: int) -> float:
        """Weight of the live weights in the update after a step, counted from 0."""
        return 1 - min(self._decay, (1 + step) / (10 + step))

    def update(self, step: int) -> None:
        """Update the average after a step, counted from 0 at the start of the training."""
        self.follow(self.weight(step))

    def follow(self, weight: float | Tensor) -> None:
        """Update the average, with a weight of the live weights."""
        for value, live in zip(self.values, self._live, strict=True):
            value.lerp_(live, weight)

    def swap(self) -> None:
        """Exchange the average and the live weights; a second call undoes it."""
        for value, live in zip(self.values, self._live, strict=True):
            kept = live.clone()
            live.copy_(value)
            value.copy_(kept)


def clip(flat: Flat, largest: float) -> Tensor:
    """Scale the gradient down to a norm of at most `largest`; return the norm that it had."""
    return nn.utils.clip_grad_norm_(flat.tensors, largest)
