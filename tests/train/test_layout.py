from __future__ import annotations

import pytest
import torch
from torch import nn

from tasearch.train.layout import image_format, keep_format, to_format

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(32, 32, 1, stride=2, groups=8), torch.contiguous_format),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), torch.channels_last),
        (nn.Conv2d(4, 8, 1), torch.channels_last),
        (nn.Conv2d(16, 8, 1, stride=2), torch.channels_last),
    ],
)
def test_strided_pointwise_kernels_of_few_channels_avoid_channels_last(
    conv: nn.Module, expected: torch.memory_format
) -> None:
    assert image_format(nn.Sequential(nn.Identity(), conv), CPU) == expected
    assert image_format(conv, torch.device("cuda")) == torch.channels_last


def test_to_format_sets_strides_of_grey_batch() -> None:
    x = torch.arange(2 * 8 * 8.0).view(2, 8, 8, 1).movedim(-1, 1)
    assert x.stride() == (64, 1, 8, 1)
    found = to_format(x, torch.contiguous_format)
    assert found.stride() == (64, 64, 8, 1)
    assert torch.equal(found, x)
    colour = torch.randn(2, 3, 8, 8)
    last = to_format(colour, torch.channels_last)
    assert last.stride() == (192, 1, 24, 3)
    assert torch.equal(to_format(last, torch.contiguous_format), colour)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("side", [4, 1])
def test_gradients_keep_format_of_images_through_flattening(
    layout: torch.memory_format, side: int
) -> None:
    seen: list[torch.Tensor] = []
    net = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(nn.ReLU(), nn.Flatten()))
    net.append(nn.Linear(5 * side * side, 2))
    x = torch.randn(6, 3, side, side).to(memory_format=layout)
    net(x).square().sum().backward()
    expected = [p.grad for p in net.parameters()]
    net.zero_grad()
    keep_format(net)
    keep_format(net)  # once more changes nothing
    net[1][0].register_full_backward_hook(lambda module, into, out: seen.append(out[0]))
    net(x).square().sum().backward()
    assert seen[0].is_contiguous(memory_format=layout)
    for found, grad in zip(net.parameters(), expected, strict=True):
        assert found.grad is not None and grad is not None
        assert torch.allclose(found.grad, grad, atol=1e-5)
