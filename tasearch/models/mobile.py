"""Small MobileNets: depthwise separable convolutions (Howard et al., arXiv 1704.04861).

A stem, five blocks, global average pooling, and a dense layer. A block is a 3x3 convolution of each
channel by itself and a 1x1 convolution of all, each with batch norm and ReLU. These are the first
layers of the paper's table 1, whose width is 32, without the stride of the stem: images are small
here.
"""

from __future__ import annotations

from torch import nn

from tasearch.models.ladders import check_images

BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1))  # channels in widths, stride in pixels


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A network with `width` channels after the stem, and eight times as many at its end.

    Args:
        width: Number of channels of the stem.
        in_shape: (channels, height, width).
        num_classes: Number of classes.

    Raises:
        ModelError: The samples are no images.
    """
    check_images(in_shape)
    layers = _convolution(in_shape[0], width, 3)
    channels = width
    for factor, stride in BLOCKS:
        layers += _convolution(channels, channels, 3, stride=stride, groups=channels)
        layers += _convolution(channels, factor * width, 1)
        channels = factor * width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)
    )


def _convolution(
    channels: int, wider: int, size: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps height and width, up to its stride, with batch norm and ReLU."""
    return [
        nn.Conv2d(
            channels, wider, size, stride=stride, padding=size // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(wider),
        nn.ReLU(inplace=True),
    ]
