"""Models that wrap another one, for other samples or fewer outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.data.ids import Ids
from tasearch.models.tokens import WithMask


def logits_of(output: Any) -> Any:
    """The logits among a model's outputs: `.logits` or `["logits"]`, else the output itself."""
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)


class OnlyLogits(nn.Module):
    """Returns only the logits of a model with several outputs.

    Args:
        net: The model, whose output has an attribute or a key `logits`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        """Float32 (samples, *in_shape) to logits (samples, num_classes)."""
        return logits_of(self.net(x))


class TakesIds(nn.Module):
    """A model of integers, which is tried and timed with random numbers, too.

    Numbers that are no integers stand for any values between the least and the greatest one, both
    of which occur. Integers are passed on as they are.

    Args:
        net: The model, which takes integers such as token ids.
        ids: What samples hold.
    """

    def __init__(self, net: nn.Module, ids: Ids) -> None:
        super().__init__()
        self.net, self.ids, self.dtype = net, ids, getattr(torch, ids.dtype)

    def as_ids(self, x: Tensor) -> Tensor:
        """Integers as they are; of other numbers, the integers that they stand for."""
        if not x.is_floating_point():
            return x
        low, high = self.ids.low, self.ids.high
        some = low + (x.abs().double() * 1e6).long() % (high - low + 1)
        return torch.where(x.abs() >= 1, high, some).to(self.dtype)

    def forward(self, x: Tensor) -> Any:
        """Integers (samples, length) to what the model returns."""
        return self.net(self.as_ids(x))


def taking(ids: Ids | None, net: nn.Module) -> nn.Module:
    """A model that can be tried with random numbers, whatever samples are.

    Args:
        ids: What samples of integers hold; None for numbers to compute with.
        net: The model, which takes the samples.
    """
    return net if ids is None else TakesIds(net, ids)


def without_wrappers(net: nn.Module) -> nn.Module:
    """The model as its function has made it."""
    while isinstance(net, OnlyLogits | TakesIds | WithMask):
        net = net.net
    return net


class NoModel(nn.Module):
    """Stands for a teacher of which there are only outputs: it has no parameters.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Any samples to NaN, (samples, classes)."""
        unknown = x.flatten(1)[:, :1] * float("nan")
        return unknown.expand(-1, self.classes)


class _Scaled(nn.Module):
    """A model with the mean and standard deviation of the training set.

    Args:
        net: The model.
        mean: Mean of raw training samples, float32, broadcastable to one sample.
        std: Standard deviation of raw training samples, shaped like `mean`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)


class Standardized(_Scaled):
    """Feeds raw samples, standardized, to a model of standardized samples.

    A model of integers gets them as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Raw samples (samples, *in_shape) to logits (samples, num_classes)."""
        plain = isinstance(self.net, TakesIds)
        logits: Tensor = self.net(x if plain else (x - self.mean) / self.std)
        return logits


def pad_of(net: nn.Module) -> int | None:
    """The id of padding of a model of texts, which takes shorter batches; None for other models."""
    inner = net.net if isinstance(net, Standardized) else net
    if isinstance(inner, TakesIds) and inner.ids.tokens is not None:
        return inner.ids.tokens.pad
    return None


class ChannelsLast(nn.Module):
    """Feeds images with their channels last to a model of images with their channels first.

    Args:
        net: The model.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Images (samples, height, width, channels) to logits (samples, num_classes)."""
        logits: Tensor = self.net(x.movedim(-1, 1))
        return logits


class FromRaw(_Scaled):
    """Feeds standardized samples, made raw again, to a model of raw samples.

    Args:
        net: The model.
        mean: Mean of raw training samples, float32, broadcastable to one sample.
        std: Standard deviation of raw training samples, shaped like `mean`.
        whole: Whether raw samples are whole numbers; they are then restored exactly.
    """

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor, *, whole: bool) -> None:
        super().__init__(net, mean, std)
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """Standardized float32 (samples, *in_shape) to logits (samples, num_classes)."""
        raw = x * self.std + self.mean
        logits: Tensor = self.net(raw.round() if self.whole else raw)
        return logits
