"""Batch norms as the trainer has them on CPU, against torch's own in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasearch.models.numerics import cpu_threads
from tasearch.train.fast.norms import fuse_norms

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # relative, of the largest number
TAILS: dict[str, list[nn.Module]] = {
    "nothing": [],
    "relu": [nn.ReLU(inplace=True)],
    "pool": [nn.MaxPool2d(2)],
    "pool, relu": [nn.MaxPool2d((2, 2)), nn.ReLU()],
    "relu, pool": [nn.ReLU(), nn.MaxPool2d(2, 2)],
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cpu_threads(1):
        yield


def normed(channels: int, *tail: nn.Module) -> nn.Sequential:
    """With weights of either sign."""
    norm = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        norm.bias.normal_(generator=generator)
    return nn.Sequential(norm, *copy.deepcopy(tail))


def images(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Channels last, their means several deviations from zero."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 7
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def operations(y: Tensor) -> list[str]:
    """The nodes behind a value, one after another."""
    found, node = [], y.grad_fn
    while node is not None:
        found.append(type(node).__name__)
        node = next((parent for parent, _ in node.next_functions), None)
    return found


def learned(net: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    """Outputs, gradients and buffers after one step."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    net.zero_grad()
    y = net(x)
    y.backward(grad.to(y.dtype))
    grads = [p.grad for p in (x, *net.parameters())]
    return [y.detach(), *[g.clone() for g in grads if g is not None], *net.buffers()]


def close(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> bool:
    pairs = [(a.detach(), b.detach()) for a, b in zip(found, expected, strict=True)]
    return all(
        a.shape == b.shape and (a.double() - b).abs().max() <= tolerance * b.abs().max()
        for a, b in pairs
    )


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((40, 16, 10, 10), marks=pytest.mark.slow),
        (5, 3, 7, 9),
        (2, 1, 2, 2),
        (33, 37, 4, 3),
    ],
)
def test_fused_norms_compute_what_torch_does(
    tail: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    net = normed(shape[1], *TAILS[tail])
    exact = copy.deepcopy(net).double()
    fuse_norms(net)
    x = images(*shape, dtype=dtype)
    grad = torch.randn(exact(x.double()).shape, generator=torch.Generator().manual_seed(1))
    exact[0].reset_running_stats()
    found, expected = learned(net, x, grad), learned(exact, x.double(), grad.double())
    assert found[0].dtype == found[1].dtype == dtype
    if dtype == torch.bfloat16 and "pool" in tail:  # a tie of rounded numbers goes elsewhere
        found.pop(1), expected.pop(1)
    assert close(found, expected, TOLERANCE[dtype])
    assert int(net[0].num_batches_tracked) == 1


@pytest.mark.parametrize("tail", TAILS)
def test_norm_and_tail_make_one_operation(tail: str) -> None:
    net = normed(4, *TAILS[tail])
    names = [*net.state_dict()]
    fuse_norms(net)
    fuse_norms(net)  # once more changes nothing
    assert [*net.state_dict()] == names
    for other in (net, copy.deepcopy(net)):
        assert operations(other(images(6, 4, 8, 8).requires_grad_())) == [
            "_NormalizedBackward",
            "AccumulateGrad",
        ]


def test_fused_norms_support_module_twice_in_sequence() -> None:
    act, norm = nn.ReLU(), nn.BatchNorm2d(3)
    net = nn.Sequential(norm, act, nn.Conv2d(3, 3, 1, bias=False), norm, act)
    exact = copy.deepcopy(net).double()
    fuse_norms(net)
    x, grad = images(9, 3, 5, 5), images(9, 3, 5, 5, seed=1)
    assert close(learned(net, x, grad), learned(exact, x.double(), grad.double()), 1e-4)
    assert operations(net(x.requires_grad_())).count("_NormalizedBackward") == 2


def test_fused_norms_ignore_default_type() -> None:
    net = normed(3, *TAILS["pool, relu"])
    exact = copy.deepcopy(net).double()
    fuse_norms(net)
    x, grad = images(9, 3, 6, 6), images(9, 3, 3, 3, seed=1)
    torch.set_default_dtype(torch.float64)
    try:
        found = learned(net, x, grad)
    finally:
        torch.set_default_dtype(torch.float32)
    assert close(found, learned(exact, x.double(), grad.double()), 1e-5)


def test_fused_norms_take_features() -> None:
    net = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())
    exact = copy.deepcopy(net).double()
    fuse_norms(net)
    x, grad = torch.randn(40, 5), torch.randn(40, 5)
    assert "_NormalizedBackward" in operations(net(x))
    net[0].reset_running_stats()
    assert close(learned(net, x, grad), learned(exact, x.double(), grad.double()), 1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("tail", ["relu", "pool, relu"])
def test_channel_ignores_other_channels(dtype: torch.dtype, tail: str) -> None:
    """To the last bit: models that share a stacked model rely on it."""
    few, x = normed(3, *TAILS[tail]), images(70, 3, 6, 6, dtype=dtype)
    many, others = normed(11, *TAILS[tail]), images(70, 11, 6, 6, dtype=dtype, seed=1)
    with torch.no_grad():
        others[:, 5:8] = x
        for wide, own in zip(many.parameters(), few.parameters(), strict=True):
            wide[5:8] = own
    grads = images(*copy.deepcopy(many)(others).shape, seed=2)
    fuse_norms(few)
    fuse_norms(many)
    alone = learned(few, x, grads[:, 5:8])
    beside = learned(many, others, grads)
    for own, wide in zip(alone, beside, strict=True):
        if own.ndim:
            assert torch.equal(own, wide[:, 5:8] if own.ndim == 4 else wide[5:8])


def test_fused_norms_round_bfloat16_like_torch() -> None:
    """Of numbers half-way between two as well: an identity in disguise."""
    bits = np.arange(2**12, dtype=np.uint32) * 2**13 + 0x3F800000  # from 1 to 16, with ties
    x = torch.from_numpy(bits.view(np.float32)).view(-1, 1, 1, 1)
    norm = nn.BatchNorm2d(1).train()
    fuse_norms(norm)
    y = norm(x.bfloat16().contiguous(memory_format=torch.channels_last))
    mean, variance = x.bfloat16().double().mean(), x.bfloat16().double().var(unbiased=False)
    scale = (1 / (variance + norm.eps).sqrt()).float()
    shift = (-mean / (variance + norm.eps).sqrt()).float()
    assert torch.equal(y, (x.bfloat16().float() * scale + shift).bfloat16())


def test_large_mean_costs_no_precision() -> None:
    norm, x = nn.BatchNorm2d(2), images(64, 2, 8, 8) + 1000
    exact = copy.deepcopy(norm).double()
    fuse_norms(norm)
    assert close([norm(x)], [exact(x.double())], 1e-3)
    assert norm.running_var is not None and exact.running_var is not None
    assert close([norm.running_var], [exact.running_var], 1e-6)


@pytest.mark.parametrize("tail", TAILS)
def test_fused_norms_pass_on_nan(tail: str) -> None:
    net = normed(3, *TAILS[tail])
    fuse_norms(net)
    x = images(8, 3, 4, 4)
    x[2, 1, 0, 0] = torch.nan
    y = net(x)
    assert y[:, 1].isnan().all()
    assert y[:, [0, 2]].isfinite().all()


def test_frozen_weights_get_no_gradient() -> None:
    net = normed(3, nn.ReLU())
    net[0].requires_grad_(False)
    fuse_norms(net)
    x = images(8, 3, 4, 4).requires_grad_()
    net(x).sum().backward()
    assert net[0].weight.grad is None
    assert x.grad is not None


def test_fused_norms_refuse_gradients_of_gradients() -> None:
    net = normed(3, nn.ReLU())
    fuse_norms(net)
    x = images(8, 3, 4, 4).requires_grad_()
    (grad,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize(
    "change",
    ["eval", "threads", "contiguous", "double", "hook", "subclass", "no statistics", "ceil", "odd"],
)
def test_other_modules_compute_as_torch_does(change: str) -> None:
    class Own(nn.BatchNorm2d):
        pass

    pool = nn.MaxPool2d(2, ceil_mode=True) if change == "ceil" else nn.MaxPool2d(2)
    net = normed(3, nn.MaxPool2d(3) if change == "odd" else pool)
    x = images(8, 3, 6, 6).requires_grad_()
    seen: list[int] = []
    if change == "subclass":
        net[0] = Own(3)
    elif change == "no statistics":
        net[0] = nn.BatchNorm2d(3, track_running_stats=False)
    elif change == "hook":
        net[0].register_forward_hook(lambda *_: seen.append(1))
    other = copy.deepcopy(net)
    fuse_norms(net)
    if change == "eval":
        net.eval(), other.eval()
    elif change == "contiguous":
        x = x.detach().contiguous().requires_grad_()
    elif change == "double":
        net.double(), other.double()
        x = x.detach().double().requires_grad_()
    with cpu_threads(2 if change == "threads" else 1):
        y, expected = net(x), other(x)
    assert "MaxPool2DWithIndicesBackward0" in operations(y)
    assert torch.allclose(y, expected, atol=1e-5)
    assert len(seen) == 2 * (change == "hook")


def test_fused_norms_refuse_what_torch_refuses() -> None:
    net = normed(3, nn.ReLU())
    fuse_norms(net)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(images(1, 3, 1, 1))
    with pytest.raises(RuntimeError, match="running_mean should contain 4 elements"):
        net(images(2, 4, 2, 2))
    with pytest.raises(ValueError, match="expected 4D input"):
        net(torch.randn(8, 3))


def test_fused_norms_need_no_autograd_graph() -> None:
    net = normed(3, *TAILS["pool, relu"])
    other, x = copy.deepcopy(net), images(8, 3, 6, 6)
    fuse_norms(net)
    with torch.no_grad():
        assert torch.allclose(net(x), other(x), atol=1e-5)
