"""The plain convolutional networks of TAKD (Mirzadeh et al., arXiv 1902.03393).

3x3 convolutions with bias, batch norm and ReLU, in blocks with max pooling after each, then dense
layers. A width is the number of convolutions. The convolutions' biases count as published, but are
zero and stay so: the batch norm takes away whatever they add, and their gradient is zero.

There are two forms, which TAKD used for CIFAR-10 and for CIFAR-100. Up to 10 classes get the first,
more get the second, whose channels are twice as many in all but the largest network. As published,
the second form's network of 6 convolutions has no pooling after its last block, so for images much
larger than 32x32 its dense layer outgrows that of 8 convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tasearch.config.values import LADDERS
from tasearch.models.checks import check_images, check_width

CLASSES_OF_SMALL = 10  # most classes that get the form for CIFAR-10


@dataclass(frozen=True, kw_only=True)
class Form:
    """One network.

    Args:
        blocks: channels and number of convolutions of each.
        hidden: units of a dense layer before the last, none if 0.
        pools: blocks that are followed by pooling, all if None.
    """

    blocks: tuple[tuple[int, int], ...]
    hidden: int = 0
    pools: int | None = None


SMALL = {
    2: Form(blocks=((16, 1), (16, 1))),
    4: Form(blocks=((16, 2), (32, 2))),
    6: Form(blocks=((16, 2), (32, 2), (64, 2))),
    8: Form(blocks=((16, 2), (32, 2), (64, 2), (128, 2)), hidden=64),
    10: Form(blocks=((32, 2), (64, 2), (128, 2), (256, 4)), hidden=128),
}
LARGE = {
    2: Form(blocks=((32, 1), (32, 1))),
    4: Form(blocks=((32, 2), (64, 2))),
    6: Form(blocks=((32, 2), (64, 2), (128, 2)), pools=2),
    8: Form(blocks=((32, 2), (64, 2), (128, 2), (256, 2)), hidden=64),
    10: Form(blocks=((32, 2), (64, 2), (128, 2), (256, 4)), hidden=512),
}
WIDTHS = LADDERS["plain"]


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The network of `width` convolutions.

    Args:
        width: 2, 4, 6, 8 or 10.
        in_shape: (channels, height, width); a pooling that would leave a side of 0 is left out.
        num_classes: length of the logits; more than 10 choose the larger form.

    Raises:
        ModelError: where the width is another, or the samples are flat.
    """
    check_images(in_shape)
    check_width(width, WIDTHS, meaning="convolutions")
    form = (SMALL if num_classes <= CLASSES_OF_SMALL else LARGE)[width]
    layers: list[nn.Module] = []
    channels, *sides = in_shape
    for i, (wider, count) in enumerate(form.blocks):
        for _ in range(count):
            layers += [
                _convolution(channels, wider),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
            ]
            channels = wider
        if min(sides) >= 2 and (form.pools is None or i < form.pools):
            layers.insert(-1, nn.MaxPool2d(2))  # as good before ReLU, which then has a quarter
            sides = [side // 2 for side in sides]
    layers.append(nn.Flatten())
    features = channels * sides[0] * sides[1]
    if form.hidden:
        layers += [nn.Linear(features, form.hidden), nn.ReLU(inplace=True)]
        features = form.hidden
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def _convolution(channels: int, wider: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, wider, 3, padding=1)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias).requires_grad_(False)
    return conv
