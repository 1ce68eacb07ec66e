"""Models that wrap another one, for other samples or fewer outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


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
    """Feeds raw samples, standardized, to a model of standardized samples."""

    def forward(self, x: Tensor) -> Tensor:
        """Raw float32 (samples, *in_shape) to logits (samples, num_classes)."""
        logits: Tensor = self.net((x - self.mean) / self.std)
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
