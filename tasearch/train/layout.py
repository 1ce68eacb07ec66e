"""Batches: the order of images in memory, and how many at a time."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

BLOCK = 16  # channels; oneDNN's largest block
ON_CPU = 64  # samples evaluated at a time; more are slower: they outgrow the processor's caches
ON_CUDA = 2000  # enough to fill a GPU


def image_format(net: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, in which convolutions are fastest, unless oneDNN would damage memory, or the
    model has tensors of five axes, which torch refuses to put so.

    Its weight gradient of a strided 1x1 convolution with fewer channels than one of its blocks
    writes past a buffer in that format (oneDNN issue 6035).
    """
    if any(t.ndim > 4 for t in itertools.chain(net.parameters(), net.buffers())):
        return torch.contiguous_format
    if device.type == "cpu" and any(map(_overruns, net.modules())):
        return torch.contiguous_format
    return torch.channels_last


def input_format(
    net: nn.Module, shape: tuple[int, ...], device: torch.device
) -> torch.memory_format:
    """Of batches of samples of a shape."""
    return image_format(net, device) if len(shape) == 3 else torch.contiguous_format


class _Flatten(nn.Flatten):
    """Its gradient comes back in the format of the images.

    As rows, it would lie otherwise in memory than all that the operators before it kept, and cost
    them several times as much: a ReLU's backward took 0.8 ms instead of 0.07 on a core of an EPYC.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.ndim == 4 and not x.is_contiguous():
            x.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return super().forward(x)


def _channels_last(grad: Tensor) -> Tensor:
    return grad.contiguous(memory_format=torch.channels_last)


def keep_format(net: nn.Module) -> None:
    """Have gradients keep the format of images back through what flattens them."""
    for module in net.modules():
        if type(module) is nn.Flatten:
            module.__class__ = _Flatten  # it stays itself, with whatever hooks it has


def evaluation_batch(device: torch.device) -> int:
    """Samples to evaluate at a time."""
    return ON_CPU if device.type == "cpu" else ON_CUDA


def arranged(x: Tensor, layout: torch.memory_format) -> Tensor:
    """A batch in a format; also where one channel makes all formats look alike to torch."""
    if layout == torch.contiguous_format:
        return x.flatten(1).view(x.shape)
    return x.contiguous(memory_format=layout)


def _overruns(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < BLOCK
    )
