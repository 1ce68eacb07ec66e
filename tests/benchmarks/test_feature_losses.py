"""Feature losses, compared with their formulas for a single model."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.feature_losses import Projection, attention_maps, attention_transfer

MODELS, BATCH, OWN, OTHER, SIDE = 3, 5, 2, 4, 6


def features(channels: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (MODELS, BATCH, channels, SIDE, SIDE)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def test_attention_transfer_is_the_published_loss_of_each_model() -> None:
    own, other = features(OWN, 0), features(OTHER, 1)
    found = attention_transfer(own, attention_maps(other))
    for value, one, two in zip(found, own, other, strict=True):
        maps = [F.normalize(f.pow(2).mean(1).view(BATCH, -1)) for f in (one, two)]
        torch.testing.assert_close(value, (maps[0] - maps[1]).pow(2).mean())


def test_attention_ignores_scale_and_number_of_channels() -> None:
    own = features(OWN, 2)
    assert attention_transfer(own, attention_maps(3 * own.repeat(1, 1, 4, 1, 1))).max() < 1e-20


def test_projection_is_a_convolution_of_each_model() -> None:
    own, other = features(OWN, 3), features(OTHER, 4)
    project = Projection([1, 2, 3], OWN, OTHER).double()
    torch.nn.init.normal_(project.bias)
    found = project(own, other)
    weights, biases = project.weight.view(MODELS, OTHER, OWN, 1, 1), project.bias.view(MODELS, -1)
    for i in range(MODELS):
        projected = F.conv2d(own[i], weights[i], biases[i])
        torch.testing.assert_close(found[i], F.mse_loss(projected, other[i]))


def test_projection_of_a_model_depends_on_its_seed_alone() -> None:
    several, alone = Projection([1, 2, 3], OWN, OTHER), Projection([2], OWN, OTHER)
    assert torch.equal(several.weight.view(MODELS, OTHER, OWN)[1], alone.weight)
