"""Laws of inherited weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmarks.inheritance import importance, inherit
from tasearch.models.cnn import build

SHAPE = (1, 8, 8)


def network(width: int, seed: int) -> nn.Sequential:
    """A network with random weights; its batch norms have statistics and weights of all kinds."""
    torch.manual_seed(seed)
    net = build(width, in_shape=SHAPE, num_classes=5).double()
    assert isinstance(net, nn.Sequential)
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return net.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(16, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def children(wide: nn.Sequential, x: Tensor, width: int = 3) -> Tensor:
    """Outputs of a network that has inherited."""
    narrow = network(width, seed=99)
    inherit(narrow, wide)
    return narrow(x)


def test_network_of_same_width_inherits_same_outputs(x: Tensor) -> None:
    wide = network(6, seed=0)
    assert torch.equal(children(wide, x, width=6), wide(x))


def test_dead_channels_are_left_out_without_a_trace(x: Tensor) -> None:
    wide = network(6, seed=1)
    with torch.no_grad():
        for module, dead in ((wide[1], [0, 2, 5]), (wide[5], [1, 2, 3, 7, 8, 11])):
            module.weight[dead] = 0  # type: ignore[operator]
            module.bias[dead] = -1  # type: ignore[operator]  # ReLU makes it 0
    torch.testing.assert_close(children(wide, x), wide(x))


def test_order_of_channels_changes_nothing(x: Tensor) -> None:
    wide = network(6, seed=2)
    mixed = copy.deepcopy(wide)
    first, second = torch.randperm(6), torch.randperm(12)
    with torch.no_grad():
        mixed[0].weight.copy_(wide[0].weight[first])
        mixed[4].weight.copy_(wide[4].weight[second][:, first])
        for place, order in ((1, first), (5, second)):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(mixed[place], name).copy_(getattr(wide[place], name)[order])
        mixed[-1].weight.copy_(wide[-1].weight[:, second])
    torch.testing.assert_close(mixed(x), wide(x))
    torch.testing.assert_close(children(mixed, x), children(wide, x))


def test_importance_is_the_length_of_the_folded_filter() -> None:
    conv, norm, *_ = network(6, seed=3)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    folded = torch.nn.utils.fuse_conv_bn_eval(copy.deepcopy(conv), copy.deepcopy(norm))
    torch.testing.assert_close(importance(conv, norm), folded.weight.flatten(1).norm(dim=1))


def test_most_important_channels_are_kept_in_their_order() -> None:
    wide, narrow = network(6, seed=4), network(2, seed=5)
    with torch.no_grad():
        wide[1].weight.copy_(torch.tensor([0.1, 9.0, 0.1, 0.1, -9.0, 0.1]))
    inherit(narrow, wide)
    assert torch.equal(narrow[0].weight, wide[0].weight[[1, 4]])
    assert torch.equal(narrow[1].weight, wide[1].weight[[1, 4]])
    assert torch.equal(narrow[-1].bias, wide[-1].bias)
