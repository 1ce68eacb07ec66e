"""Small vision transformers (Dosovitskiy et al., arXiv 2010.11929).

An image is cut into at most 8x8 patches, of at least 2x2 pixels, each of which becomes a token;
tokens pass four blocks of attention and dense layers, with layer norms before them. As in a later,
simpler baseline (Beyer et al., arXiv 2205.01580), the mean over tokens is classified, and there is
no dropout.

The last layer of each branch starts at zero, so that a block starts as the identity (Zhang et al.,
arXiv 1901.09321): then the default learning rate, which suits networks with batch norms, can train
it, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasearch.errors import ModelError
from tasearch.models.ladders import check_images

SIDE = 8  # most patches in a row, and in a column
PIXELS = 2  # smallest patch
DEPTH = 4  # blocks
HEAD = 8  # features of an attention head
RATIO = 4  # hidden units of a block's dense layers, in widths
PLACES = 0.02  # standard deviation of what is added to the patch of a place, at the start


class Dense(nn.Linear):
    """A dense layer of each token, as one product of matrices for all samples."""

    def forward(self, x: Tensor) -> Tensor:
        """(samples, tokens, features) to (samples, tokens, other features)."""
        y = super().forward(x.flatten(0, 1))
        return y.view(-1, x.shape[1], y.shape[1])


class Attention(nn.Module):
    """Self-attention with as many heads of 8 features as hold at least `width`.

    Args:
        width: Number of features of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = -(-width // HEAD)
        self.inputs = Dense(width, 3 * self.heads * HEAD)
        self.output = Dense(self.heads * HEAD, width)

    def forward(self, x: Tensor) -> Tensor:
        """(samples, tokens, width) to the same."""
        query, key, value = (  # each (samples, heads, tokens, HEAD)
            part.unflatten(2, (self.heads, HEAD)).transpose(1, 2)
            for part in self.inputs(x).chunk(3, dim=2)
        )
        weights = (query @ key.transpose(2, 3) * HEAD**-0.5).softmax(dim=3)
        y: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """Attention, then two dense layers, each added to its input.

    Args:
        width: Number of features of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        attention, last = Attention(width), Dense(RATIO * width, width)
        self.attention = nn.Sequential(nn.LayerNorm(width), attention)
        self.dense = nn.Sequential(
            nn.LayerNorm(width), Dense(width, RATIO * width), nn.GELU(), last
        )
        for layer in (attention.output, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(samples, tokens, width) to the same."""
        x = x + self.attention(x)
        y: Tensor = x + self.dense(x)
        return y


class Tokens(nn.Module):
    """The patches of an image as tokens, each with what is learned of its place.

    Args:
        width: Number of features of a token.
        in_shape: (channels, height, width) of an image; it is padded with zeros to whole patches.
    """

    def __init__(self, width: int, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *sides = in_shape
        patch = [max(PIXELS, -(-side // SIDE)) for side in sides]
        counts = [-(-side // size) for side, size in zip(sides, patch, strict=True)]
        below, right = (n * size - side for n, size, side in zip(counts, patch, sides, strict=True))
        self.pad = nn.ZeroPad2d((0, right, 0, below))
        self.patches = nn.Conv2d(channels, width, (patch[0], patch[1]), (patch[0], patch[1]))
        self.places = nn.Parameter(PLACES * torch.randn(counts[0] * counts[1], width))

    def forward(self, x: Tensor) -> Tensor:
        """(samples, channels, height, width of an image) to (samples, tokens, features)."""
        y: Tensor = self.patches(self.pad(x)).flatten(2).transpose(1, 2) + self.places
        return y


class Mean(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """(samples, tokens, features) to (samples, features)."""
        return x.mean(dim=1)


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A transformer with `width` features of each token.

    Args:
        width: Number of features of a token, at least 2.
        in_shape: (channels, height, width of an image).
        num_classes: Number of classes.

    Raises:
        ModelError: The width is 1, whose layer norms are constant; or the samples are no images.
    """
    check_images(in_shape)
    if width < 2:
        raise ModelError(f"width should be at least 2 (features of a token), found {width}")
    blocks = [Block(width) for _ in range(DEPTH)]
    head = nn.Linear(width, num_classes)
    return nn.Sequential(Tokens(width, in_shape), *blocks, nn.LayerNorm(width), Mean(), head)
