"""Feature losses: a student's hidden layers learn from those of its teacher.

They take several students at once, each with a teacher of its own. Features of a layer are float
(models, batch, channels, height, width); student and teacher have the same height and width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention_maps(features: Tensor) -> Tensor:
    """Attention maps of unit length: the mean square over channels, float (models, batch, places).

    Zagoruyko and Komodakis, arXiv 1612.03928: F_mean^2 of section 3.1; they take the sum over
    channels, which the unit length makes equal.
    """
    maps = features.square().mean(dim=2).flatten(2)
    return F.normalize(maps, dim=2)


def attention_transfer(features: Tensor, maps: Tensor) -> Tensor:
    """Mean squared difference of attention maps, over samples and places, (models,).

    Its weight in the paper is 1000 (section 4.1), for a mean like this one.

    Args:
        features: The students' features.
        maps: The teachers' attention maps.
    """
    return (attention_maps(features) - maps).square().mean(dim=(1, 2))


class Projection(nn.Module):
    """Mean squared difference of projected features, over all their elements.

    The projection is a 1x1 convolution of each model's own, which learns along and is thrown away.
    FitNets (arXiv 1412.6550, equation 3) trains its regressor and the layers up to one hint before
    all else; here the loss is added to the distillation's, as later comparisons do (Tian et al.,
    arXiv 1910.10699, with weight 100).

    Args:
        seeds: A seed for each model.
        channels: Channels of the students' features.
        wanted: Channels of the teachers' features.
    """

    def __init__(self, seeds: list[int], channels: int, wanted: int) -> None:
        super().__init__()
        self.models = len(seeds)
        bound, drawn = channels**-0.5, []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            drawn.append((2 * torch.rand(wanted, channels, generator=generator) - 1) * bound)
        self.weight = nn.Parameter(torch.cat(drawn))  # (models * wanted, channels)
        self.bias = nn.Parameter(torch.zeros(self.models * wanted))

    def forward(self, features: Tensor, wanted: Tensor) -> Tensor:
        """The loss of each model, (models,).

        Args:
            features: The students' features.
            wanted: The teachers' features.
        """
        models, batch, channels, height, width = features.shape
        flat = features.transpose(1, 2).reshape(models, channels, -1)
        weight = self.weight.view(models, -1, channels)
        projected = torch.baddbmm(self.bias.view(models, -1, 1), weight, flat)
        projected = projected.view(models, -1, batch, height, width)
        return (projected - wanted.transpose(1, 2)).square().mean(dim=(1, 2, 3, 4))


def _all(features: Tensor) -> Tensor:
    return features


ATTENTION, PROJECTED = "attention", "projected"
KEPT: dict[str, Callable[[Tensor], Tensor]] = {  # what a loss needs of a teacher's features
    ATTENTION: attention_maps,
    PROJECTED: _all,
}
