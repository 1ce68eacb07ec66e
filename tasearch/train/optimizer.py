"""Optimizers over flat parameters, and what the learning rate and the momentum are at each step.

A net of ten layers has some thirty small tensors, and each call on one of them costs more than its
arithmetic. So all weights that decay lie in one tensor and all that do not in another, and so do
their gradients: an update, a norm, an average or a reset is one call on each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tasearch.chain import Recipe
from tasearch.numerics import rounded_up

ALIGNED = 16  # float32 numbers in 64 bytes, at which vector units load best

START, END = 1 / 25, 1e-4  # of the peak: where one-cycle's learning rate begins and ends
MOMENTUM = (0.95, 0.85)  # one-cycle's, at both ends and at the peak
BETA2 = 0.999  # of AdamW


class Flat:
    """A net's trainable parameters, moved into flat tensors that they become views of.

    Args:
        net: changed in place; its values, names and memory formats stay.

    Attributes:
        decayed: flat parameters of matrices and kernels.
        undecayed: of vectors, which are norms and biases.
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
        return self.decayed + self.undecayed

    def home(self, parameter: Tensor) -> int:
        """Index among `tensors` of the one that a parameter is a view of."""
        place = parameter.untyped_storage().data_ptr()
        return [flat.untyped_storage().data_ptr() for flat in self.tensors].index(place)

    @staticmethod
    def within(parameter: Tensor, like: Tensor) -> Tensor:
        """The part of a tensor laid out as a flat one that stands where the parameter does."""
        return like.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())

    def zero_grad(self) -> None:
        """In place, for the parameters' gradients are views of these."""
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


def _groups(flat: Flat, recipe: Recipe) -> list[dict[str, object]]:
    groups = [
        {"params": flat.decayed, "weight_decay": recipe.weight_decay},
        {"params": flat.undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adamw(flat: Flat, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 1711.05101)."""
    on_cuda = flat.tensors[0].is_cuda
    return torch.optim.AdamW(
        _groups(flat, recipe), lr=recipe.learning_rate, fused=True, capturable=on_cuda
    )


def sgd(flat: Flat, recipe: Recipe) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov's momentum, plain where the momentum is 0."""
    return torch.optim.SGD(
        _groups(flat, recipe),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


OPTIMIZERS: dict[str, Callable[[Flat, Recipe], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "sgd": sgd,
}


def cosine(step: int, steps: int, recipe: Recipe) -> tuple[float, float | None]:
    """Linear warm-up, then half a cosine to zero; the momentum stays."""
    warm = recipe.warmup * steps
    rise = min(1.0, (step + 1) / warm) if warm else 1.0
    fall = max(0.0, step - warm) / max(1.0, steps - warm)
    return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * fall)), None


def one_cycle(step: int, steps: int, recipe: Recipe) -> tuple[float, float | None]:
    """Up to the peak and far down again, the momentum the other way (Smith, 1708.07120).

    Half cosines, the first over the warm-up.
    """
    peak = recipe.learning_rate
    top = max(0.0, recipe.warmup * steps - 1)
    if step < top:
        share = step / top
        return _between(peak * START, peak, share), _between(MOMENTUM[0], MOMENTUM[1], share)
    share = (step - top) / max(1e-9, steps - 1 - top)
    return _between(peak, peak * START * END, share), _between(MOMENTUM[1], MOMENTUM[0], share)


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` at 0 to `end` at 1."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


SCHEDULES: dict[str, Callable[[int, int, Recipe], tuple[float, float | None]]] = {
    "cosine": cosine,
    "one-cycle": one_cycle,
}


def set_rates(
    optimizer: torch.optim.Optimizer, rate: float | Tensor, momentum: float | None
) -> None:
    """Put a step's learning rate and momentum (Adam's first beta) into every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, BETA2)
        elif momentum is not None and group["momentum"]:
            group["momentum"] = momentum


class Average:
    """An exponential moving average of flat weights, warmed up as 1/t at first.

    Args:
        flat: whose weights are averaged.
        decay: of the average, a step.
    """

    def __init__(self, flat: Flat, decay: float) -> None:
        self._live, self._decay = [t.detach() for t in flat.tensors], decay
        self.values = [t.clone() for t in self._live]

    def weight(self, step: int) -> float:
        """Of the live weights in a step's update."""
        return 1 - min(self._decay, (1 + step) / (10 + step))

    def update(self, step: int) -> None:
        """After a step, counted from the start of the training."""
        self.follow(self.weight(step))

    def follow(self, weight: float | Tensor) -> None:
        """Move towards the live weights, by such a share."""
        for value, live in zip(self.values, self._live, strict=True):
            value.lerp_(live, weight)

    def swap(self) -> None:
        """Exchange average and live weights; twice is nothing."""
        for value, live in zip(self.values, self._live, strict=True):
            kept = live.clone()
            live.copy_(value)
            value.copy_(kept)


def clip(flat: Flat, largest: float) -> Tensor:
    """Scale the gradient down to a norm of at most `largest`; the norm that it had."""
    return nn.utils.clip_grad_norm_(flat.tensors, largest)
