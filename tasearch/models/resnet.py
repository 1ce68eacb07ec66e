"""The residual networks for CIFAR (He et al., arXiv 1512.03385, section 4.2).

A stem, three stages of basic blocks with 16, 32 and 64 channels, global average pooling, and a
dense layer. A width is the depth: 6n + 2 layers have n blocks in each stage. Where a block changes
the shape, its shortcut is a 1x1 convolution with batch norm (option B), as in the networks of TAKD.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tasearch.config.values import LADDERS
from tasearch.models.ladders import check_images, check_width

WIDTHS = LADDERS["resnet"]
CHANNELS = (16, 32, 64)  # of the three stages


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        channels: Number of channels of the input.
        wider: Number of channels of the output.
        stride: Stride of the first convolution and of the shortcut, in pixels.
    """

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(inplace=True),
            nn.Conv2d(wider, wider, 3, padding=1, bias=False),
            nn.BatchNorm2d(wider),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != wider:
            narrow = nn.Conv2d(channels, wider, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(narrow, nn.BatchNorm2d(wider))

    def forward(self, x: Tensor) -> Tensor:
        """(samples, channels, h, w) to (samples, wider, ceil(h / stride), ceil(w / stride))."""
        return F.relu(self.inner(x) + self.shortcut(x), inplace=True)


def build(
    width: int, *, in_shape: tuple[int, ...], num_classes: int, multiplier: float = 1.0
) -> nn.Module:
    """The network of depth `width`, with He's initialization of convolutions (arXiv 1502.01852).

    Args:
        width: Number of layers: 8, 14, 20, 26, 32, 44, 56 or 110.
        in_shape: (channels, height, width).
        num_classes: Number of classes.
        multiplier: Factor of the numbers of channels of stem and stages; the products are rounded,
            and at least 1.

    Raises:
        ModelError: There is no such width, or the samples are no images.
    """
    check_images(in_shape)
    check_width(width, WIDTHS, meaning="layers")
    stages = [max(1, round(multiplier * base)) for base in CHANNELS]
    channels = stages[0]
    layers: list[nn.Module] = [
        nn.Conv2d(in_shape[0], channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    for i, wider in enumerate(stages):
        for j in range((width - 2) // 6):
            layers.append(Block(channels, wider, stride=2 if i and not j else 1))
            channels = wider
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
