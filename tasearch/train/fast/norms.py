"""Batch norms of models in training, with the ReLU and the pooling that follow, as one operation.

On CPU with one thread, where `tasearch.train.fast.kernels` has it; elsewhere modules do as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tasearch.train.fast import kernels

KINDS = {torch.float32: kernels.FLOAT32, torch.bfloat16: kernels.BFLOAT16}
NO_FLOOR, RELU = np.float32(-np.inf), np.float32(0)

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _Normalized(torch.autograd.Function):
    """A batch norm in training mode, then pooling or not, from a floor on."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Norm, floor: np.float32, pool: bool
    ) -> Tensor:
        assert norm.running_mean is not None and norm.running_var is not None
        ctx.kind, ctx.floor = KINDS[x.dtype], floor
        channels = len(weight)
        kept = x.new_empty(4 * channels, dtype=torch.float32)
        found = kept.data_ptr()
        own = ctx.kind, x.data_ptr(), x.numel(), channels
        given = _addresses(weight, bias, norm.running_mean, norm.running_var)
        kernels.fit(*own, *given, norm.momentum, norm.eps, found)
        if not pool:
            y = torch.empty_like(x)
            kernels.plain(*own, found, floor, y.data_ptr())
            ctx.save_for_backward(x, kept)
            return y
        samples, _, height, width = x.shape
        y = x.new_empty(samples, height // 2, width // 2, channels).permute(0, 3, 1, 2)
        peak, place = torch.empty_like(y), y.new_empty(y.numel(), dtype=torch.uint8)
        images = ctx.kind, x.data_ptr(), samples, height, width, channels
        kernels.pooled(*images, found, floor, *_addresses(y, peak, place))
        ctx.save_for_backward(x, kept, peak, place)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        x, kept, *more = ctx.saved_tensors
        channels = len(kept) // 4
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        grad = grads[0].contiguous(memory_format=layout)
        dx, dweight, dbias = torch.empty_like(x), kept.new_empty(channels), kept.new_empty(channels)
        written = _addresses(dx, dweight, dbias)
        if more:
            samples, _, height, width = x.shape
            images = ctx.kind, x.data_ptr(), samples, height, width, channels
            kernels.pooled_back(*images, *_addresses(kept, grad, *more), *written)
        else:
            own = ctx.kind, x.data_ptr(), x.numel(), channels
            kernels.plain_back(*own, kept.data_ptr(), ctx.floor, grad.data_ptr(), *written)
        return dx, dweight, dbias, None, None, None


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


class _Norm1d(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return _normalized(self, x, NO_FLOOR) if _fits(self, x) else super().forward(x)


class _Norm2d(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return _normalized(self, x, NO_FLOOR) if _fits(self, x) else super().forward(x)


QUICK: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Norm1d,
    nn.BatchNorm2d: _Norm2d,
}


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Neighbours in a sequence.

    Args:
        modules: in order.
        norm: the first of them, where they may be one operation.
        floor: that it begins at.
        pool: whether it pools.
    """

    modules: Sequence[nn.Module]
    norm: Norm | None = None
    floor: np.float32 = NO_FLOOR
    pool: bool = False


class _Sequence(nn.Sequential):
    """Does the same in fewer operations."""

    runs: Sequence[_Run]

    def forward(self, x: Tensor) -> Tensor:
        for run in self.runs:
            if run.norm is not None and _fits(run.norm, x, pool=run.pool):
                x = _normalized(run.norm, x, run.floor, pool=run.pool)
                continue
            for module in run.modules:
                x = module(x)
        return x


def quicken(net: nn.Module) -> None:
    """Have a model's batch norms, and what follows them in sequences, train as one operation.

    Modules stay themselves, with their names and weights. Only their class changes, so a user's
    own subclass, or a module with hooks, goes on as it is.
    """
    for module in net.modules():
        if type(module) in QUICK:
            assert isinstance(module, Norm)
            if module.affine and module.track_running_stats and module.momentum is not None:
                module.__class__ = QUICK[type(module)]  # type: ignore[assignment]
    for module in net.modules():
        if type(module) in (nn.Sequential, _Sequence):
            assert isinstance(module, nn.Sequential)
            module.__class__ = _Sequence
            module.__dict__["runs"] = tuple(_runs([*module]))  # one that stands there twice, twice


def _runs(modules: Sequence[nn.Module]) -> Iterator[_Run]:
    while modules:
        first, count, floor, pool = modules[0], 1, NO_FLOOR, False
        if isinstance(first, _Norm1d | _Norm2d) and not hooked(first):
            for module in modules[1:3]:
                if type(module) is nn.ReLU and floor != RELU and not hooked(module):
                    floor = RELU
                elif _checkpoints(module) and not pool and not hooked(module):
                    pool = True  # as good before ReLU as after it
                else:
                    break
                count += 1
            yield _Run(modules=modules[:count], norm=first, floor=floor, pool=pool)
        else:
            yield _Run(modules=modules[:1])
        modules = modules[count:]


def _checkpoints(module: nn.Module) -> bool:
    """Whether it takes the largest of each 2x2 square."""
    if type(module) is not nn.MaxPool2d or module.return_indices or module.ceil_mode:
        return False
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
    return all(size in (n, (n, n)) for size, n in zip(sizes, (2, 2, 0, 1), strict=True))


def hooked(module: nn.Module) -> bool:
    """Whether code of a user's runs before or after a module."""
    forward = (module._forward_hooks, module._forward_pre_hooks)
    return any((*forward, module._backward_hooks, module._backward_pre_hooks))


def _fits(norm: Norm, x: Tensor, *, pool: bool = False) -> bool:
    """Whether a batch may go through the kernels."""
    if not norm.training or x.device.type != "cpu" or x.dtype not in KINDS:
        return False
    if isinstance(norm, nn.BatchNorm2d):
        dense = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        dense = dense and not (pool and min(x.shape[2:]) < 2)
    else:
        dense = x.ndim == 2 and x.is_contiguous() and not pool
    if not dense or x.shape[1] != norm.num_features:
        return False  # torch's own says what is wrong
    several = x.numel() > norm.num_features  # one row alone has no variance
    return several and norm.weight.dtype == torch.float32 and torch.get_num_threads() == 1


def _normalized(norm: Norm, x: Tensor, floor: np.float32, *, pool: bool = False) -> Tensor:
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    y: Tensor = _Normalized.apply(x, norm.weight, norm.bias, norm, floor, pool)  # type: ignore[no-untyped-call]
    return y
