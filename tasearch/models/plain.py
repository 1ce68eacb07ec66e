"""The plain convolutional networks of TAKD (Mirzadeh et al., arXiv 1902.03393).

Blocks of 3x3 convolutions with bias, batch norm and ReLU, each block followed by max pooling, and
then dense layers. A width is the number of convolutions. The convolutions have biases, so that
sizes are those published, but the biases are zero and stay so: batch norm subtracts whatever they
add, and their gradient is zero.

There are two sets of networks: TAKD used the small one for CIFAR-10 and the large one for
CIFAR-100. Up to 10 classes get the small one. In the large one all but the largest network have
twice as many channels. As published, its network of 6 convolutions has no pooling after the last
block, so for images much larger than 32x32 its dense layer is larger than that of 8 convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tasearch.config.values import LADDERS
from tasearch.models.ladders import check_images, check_width

CLASSES_OF_SMALL = 10  # most classes that get a network of `SMALL`


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The layers of one network.

    Args:
        blocks: Number of channels and number of convolutions of each block.
        hidden: Number of units of a dense layer before the last; 0 for no such layer.
        pools: Number of blocks that are followed by pooling; None for all.
    """

    blocks: tuple[tuple[int, int], ...]
    hidden: int = 0
    pools: int | None = None


SMALL = {
    2: Plan(blocks=((16, 1), (16, 1))),
    4: Plan(blocks=((16, 2), (32, 2))),
    6: Plan(blocks=((16, 2), (32, 2), (64, 2))),
    8: Plan(blocks=((16, 2), (32, 2), (64, 2), (128, 2)), hidden=64),
    10: Plan(blocks=((32, 2), (64, 2), (128, 2), (256, 4)), hidden=128),
}
LARGE = {
    2: Plan(blocks=((32, 1), (32, 1))),
    4: Plan(blocks=((32, 2), (64, 2))),
    6: Plan(blocks=((32, 2), (64, 2), (128, 2)), pools=2),
    8: Plan(blocks=((32, 2), (64, 2), (128, 2), (256, 2)), hidden=64),
    10: Plan(blocks=((32, 2), (64, 2), (128, 2), (256, 4)), hidden=512),
}
WIDTHS = LADDERS["plain"]


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The network of `width` convolutions.

    Args:
        width: 2, 4, 6, 8 or 10.
        in_shape: (channels, height, width); a pooling that would leave a side of 0 is left out.
        num_classes: length of the logits; more than 10 choose the larger plan.

    Raises:
        ModelError: where the width is another, or the samples are flat.
    """
    check_images(in_shape)
    check_width(width, WIDTHS, meaning="convolutions")
    plan = (SMALL if num_classes <= CLASSES_OF_SMALL else LARGE)[width]
    layers: list[nn.Module] = []
    channels, *sides = in_shape
    for i, (wider, count) in enumerate(plan.blocks):
        for _ in range(count):
            layers += [
                _convolution(channels, wider),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
            ]
            channels = wider
        if min(sides) >= 2 and (plan.pools is None or i < plan.pools):
            layers.insert(-1, nn.MaxPool2d(2))  # the same before ReLU, which then has a quarter
            sides = [side // 2 for side in sides]
    layers.append(nn.Flatten())
    features = channels * sides[0] * sides[1]
    if plan.hidden:
        layers += [nn.Linear(features, plan.hidden), nn.ReLU(inplace=True)]
        features = plan.hidden
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def _convolution(channels: int, wider: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, wider, 3, padding=1)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias).requires_grad_(False)
    return conv
