"""Batch norms in training, with the ReLU and the max pooling that follow, as one operation.

This is for a CPU with one thread, by `tasearch.train.fast.kernels`; elsewhere the modules compute
as torch's own do.
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

DTYPES = {torch.float32: kernels.FLOAT32, torch.bfloat16: kernels.BFLOAT16}
NO_FLOOR, RELU = np.float32(-np.inf), np.float32(0)

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _Normalized(torch.autograd.Function):
    """A batch norm in training mode, then max pooling if `pool`, then the maximum with `floor`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Norm, floor: np.float32, pool: bool
    ) -> Tensor:
        assert norm.running_mean is not None and norm.running_var is not None
        ctx.kind, ctx.floor = DTYPES[x.dtype], floor
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


FUSED_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Norm1d,
    nn.BatchNorm2d: _Norm2d,
}


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Adjacent modules of a sequence.

    Args:
        modules: The modules, in order.
        norm: The first module, if all may be computed as one operation; None otherwise.
        floor: Smallest output: 0 with a ReLU, minus infinity without.
        pool: Whether a max pooling is among them.
    """

    modules: Sequence[nn.Module]
    norm: Norm | None = None
    floor: np.float32 = NO_FLOOR
    pool: bool = False


class _Sequence(nn.Sequential):
    """`nn.Sequential` which computes a batch norm and what follows as one operation."""

    runs: Sequence[_Run]

    def forward(self, x: Tensor) -> Tensor:
        for run in self.runs:
            if run.norm is not None and _fits(run.norm, x, pool=run.pool):
                x = _normalized(run.norm, x, run.floor, pool=run.pool)
                continue
            for module in run.modules:
                x = module(x)
        return x


def fuse_norms(net: nn.Module) -> None:
    """Compute a model's batch norms, and what follows them in sequences, as one operation.

    The modules stay the same objects, with their names and weights; only their class changes. A
    user's own subclass, or a module with hooks, stays as it is.

    Args:
        net: The model, changed in place; a second call changes nothing.
    """
    for module in net.modules():
        if type(module) in FUSED_NORMS:
            assert isinstance(module, Norm)
            if module.affine and module.track_running_stats and module.momentum is not None:
                module.__class__ = FUSED_NORMS[type(module)]  # type: ignore[assignment]
    for module in net.modules():
        if type(module) in (nn.Sequential, _Sequence):
            assert isinstance(module, nn.Sequential)
            module.__class__ = _Sequence
            module.__dict__["runs"] = tuple(_runs([*module]))  # a module may occur twice


def _runs(modules: Sequence[nn.Module]) -> Iterator[_Run]:
    while modules:
        first, count, floor, pool = modules[0], 1, NO_FLOOR, False
        if isinstance(first, _Norm1d | _Norm2d) and not hooked(first):
            for module in modules[1:3]:
                if type(module) is nn.ReLU and floor != RELU and not hooked(module):
                    floor = RELU
                elif _is_pool(module) and not pool and not hooked(module):
                    pool = True  # the maximum is the same before ReLU as after it
                else:
                    break
                count += 1
            yield _Run(modules=modules[:count], norm=first, floor=floor, pool=pool)
        else:
            yield _Run(modules=modules[:1])
        modules = modules[count:]


def _is_pool(module: nn.Module) -> bool:
    """Whether a module takes the largest value of each 2x2 square."""
    if type(module) is not nn.MaxPool2d or module.return_indices or module.ceil_mode:
        return False
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
    return all(size in (n, (n, n)) for size, n in zip(sizes, (2, 2, 0, 1), strict=True))


def hooked(module: nn.Module) -> bool:
    """Whether a user's hooks run before or after a module."""
    forward = (module._forward_hooks, module._forward_pre_hooks)
    return any((*forward, module._backward_hooks, module._backward_pre_hooks))


def _fits(norm: Norm, x: Tensor, *, pool: bool = False) -> bool:
    """Whether the kernels can compute a batch."""
    if not norm.training or x.device.type != "cpu" or x.dtype not in DTYPES:
        return False
    if isinstance(norm, nn.BatchNorm2d):
        dense = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        dense = dense and not (pool and min(x.shape[2:]) < 2)
    else:
        dense = x.ndim == 2 and x.is_contiguous() and not pool
    if not dense or x.shape[1] != norm.num_features:
        return False  # torch raises an error with the reason
    several = x.numel() > norm.num_features  # a single value has no variance
    return several and norm.weight.dtype == torch.float32 and torch.get_num_threads() == 1


def _normalized(norm: Norm, x: Tensor, floor: np.float32, *, pool: bool = False) -> Tensor:
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    y: Tensor = _Normalized.apply(x, norm.weight, norm.bias, norm, floor, pool)  # type: ignore[no-untyped-call]
    return y
