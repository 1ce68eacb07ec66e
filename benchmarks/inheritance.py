"""Inherited weights: a narrow network of family cnn starts from a wide one's channels.

Of each convolution the most important channels are kept, in their order. A channel is as important
as its filter is long, times what its batch norm multiplies it by: ||filter||_2 |gamma| / sqrt(var +
eps). That is the length of the filter once the batch norm is folded into it; to rank filters by
their norm is from Li et al. (arXiv 1608.08710), who take the sum of absolute values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def importance(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Importance of each channel of a convolution, (channels,).

    Args:
        conv: The convolution.
        norm: The batch norm after it.
    """
    assert norm.running_var is not None
    lengths = conv.weight.flatten(1).norm(dim=1)
    return lengths * norm.weight.abs() / (norm.running_var + norm.eps).sqrt()


@torch.no_grad()
def inherit(narrow: nn.Sequential, wide: nn.Sequential) -> None:
    """Give a network the most important channels of a wider one of its family.

    With the same width both have the same outputs. Channels of importance 0 are constant; where
    only such are left out and their constants are 0 after ReLU, the outputs are the same, too.

    Args:
        narrow: Network of convolutions, batch norms, one dense layer and layers without weights,
            changed in place.
        wide: The same layers with at least as many channels; it stays as it is.
    """
    kept: Tensor | None = None  # channels of the wide network that reach the layer; None for all
    for i, (own, other) in enumerate(zip(narrow, wide, strict=True)):
        if isinstance(own, nn.Conv2d):
            norm = wide[i + 1]
            assert isinstance(other, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            given = other.weight
            inputs = given if kept is None else given[:, kept]
            kept = importance(other, norm).topk(own.out_channels).indices.sort().values
            own.weight.copy_(inputs[kept])
        elif isinstance(own, nn.BatchNorm2d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(own, name).copy_(getattr(other, name)[kept])
        elif isinstance(own, nn.Linear):
            assert isinstance(other, nn.Linear)
            own.weight.copy_(other.weight[:, kept])
            own.bias.copy_(other.bias)
