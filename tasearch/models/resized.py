"""Models of smaller images than those of the data: the argument `resolution` of a size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.config.values import MOST_SIDE
from tasearch.errors import ModelError, quoted

RESOLUTION = "resolution"


class Resized(nn.Module):
    """Feeds images of another height and width to a model: bilinear, antialiased, uncropped.

    Args:
        net: The model.
        size: Height and width of the images that it takes, in pixels.
    """

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Any:
        """Float32 (samples, channels, height, width) to what the model returns."""
        return self.net(F.interpolate(x, self.size, mode="bilinear", antialias=True))


def checked_resolution(value: Any, in_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width in pixels that a resolution stands for.

    Args:
        value: One number for both, or (height, width).
        in_shape: Shape of a sample of the data.

    Raises:
        ModelError: It is neither, or the samples are no images.
    """
    sides = [*value] if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides):
        raise ModelError(
            f"resolution should be an integer of 1 or more, or [height, width], "
            f"found {quoted(value)}"
        )
    if len(in_shape) != 3:
        raise ModelError(f"resolution goes with images, found samples of shape {in_shape}")
    return sides[0], sides[1]
