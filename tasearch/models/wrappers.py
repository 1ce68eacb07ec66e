"""Models around models: of other samples, of fewer outputs."""

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
    """A model that gives more than logits, without the rest.

    Args:
        net: the model, whose outputs have logits as an attribute or under a key of that name.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        """What the model gives for float32 (samples, *in_shape), but its logits alone."""
        return logits_of(self.net(x))


class _Scaled(nn.Module):
    """A model with the scale of the training part.

    Args:
        net: the model.
        mean: broadcastable to one sample.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)


class Standardized(_Scaled):
    """A model of standardized samples, on raw ones."""

    def forward(self, x: Tensor) -> Tensor:
        """Raw float32 (samples, *in_shape) to logits (samples, num_classes)."""
        logits: Tensor = self.net((x - self.mean) / self.std)
        return logits


class FromRaw(_Scaled):
    """A model of raw samples, on standardized ones.

    Args:
        net: the model.
        mean: mean of raw samples, broadcastable to one.
        std: standard deviation of raw samples, likewise.
        whole: whether raw samples are whole numbers, which it then sees to the last bit.
    """

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor, *, whole: bool) -> None:
        super().__init__(net, mean, std)
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """Standardized float32 (samples, *in_shape) to logits (samples, num_classes)."""
        raw = x * self.std + self.mean
        logits: Tensor = self.net(raw.round() if self.whole else raw)
        return logits
