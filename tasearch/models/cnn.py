"""A small convolutional network: two convolutions with batch norm, pooling after each.

Images get 3x3 kernels. Flat features are taken as a sequence of one channel, with kernels of 3.
"""

from __future__ import annotations

from torch import nn


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A network with `width` channels, then twice as many.

    Args:
        width: Number of channels of the first convolution.
        in_shape: (channels, height, width) or (features,).
        num_classes: Number of classes.
    """
    if len(in_shape) == 1:
        layers: list[nn.Module] = [nn.Unflatten(1, (1, in_shape[0]))]
        channels, size = 1, list(in_shape)
        conv, norm, pool, mean = nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d
    else:
        layers = []
        channels, size = in_shape[0], list(in_shape[1:])
        conv, norm, pool, mean = nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d  # type: ignore[assignment]
    for wider in (width, 2 * width):
        layers += [
            conv(channels, wider, 3, padding=1, bias=False),
            norm(wider),
            nn.ReLU(inplace=True),
        ]
        if all(length >= 2 for length in size):
            layers.insert(-1, pool(2))  # the same before ReLU, which then has less to do
            size = [length // 2 for length in size]
        channels = wider
    return nn.Sequential(*layers, mean(1), nn.Flatten(), nn.Linear(channels, num_classes))
