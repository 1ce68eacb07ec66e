"""The order of images in memory, and the size of batches in evaluations."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

BLOCK = 16  # channels of oneDNN's largest block
ON_CPU = 64  # samples; larger batches are slower, because they do not fit the processor's caches
ON_CUDA = 2000  # samples; enough to keep a GPU busy


def image_format(net: nn.Module, device: torch.device) -> torch.memory_format:
    """The memory format in which a model computes fastest: channels_last where it is possible.

    It is not possible if the model has tensors of five axes, which torch does not convert, or if
    oneDNN would damage memory: in channels_last, its weight gradient of a strided 1x1 convolution
    with fewer channels than one of its blocks writes past a buffer (oneDNN issue 6035).
    """
    if any(t.ndim > 4 for t in itertools.chain(net.parameters(), net.buffers())):
        return torch.contiguous_format
    if device.type == "cpu" and any(map(_overruns, net.modules())):
        return torch.contiguous_format
    return torch.channels_last


def input_format(
    net: nn.Module, shape: tuple[int, ...], device: torch.device
) -> torch.memory_format:
    """The memory format of batches.

    Args:
        net: The model that takes them.
        shape: Shape of a sample.
        device: The device that computes.
    """
    return image_format(net, device) if len(shape) == 3 else torch.contiguous_format


class _Flatten(nn.Flatten):
    """`nn.Flatten` whose gradient has the memory format of the images.

    Otherwise the gradient would be contiguous, and all tensors which the operators before it have
    kept would not: their backward passes would take several times as long. For a ReLU it was 0.8
    ms instead of 0.07 ms, on one core of an EPYC processor.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.ndim == 4 and not x.is_contiguous():
            x.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return super().forward(x)


def _channels_last(grad: Tensor) -> Tensor:
    return grad.contiguous(memory_format=torch.channels_last)


def keep_format(net: nn.Module) -> None:
    """Replace the class of a model's `nn.Flatten` modules by `_Flatten`, in place."""
    for module in net.modules():
        if type(module) is nn.Flatten:
            module.__class__ = _Flatten  # the module stays the same object, with its hooks


def evaluation_batch(device: torch.device) -> int:
    """Number of samples of a batch in evaluations."""
    return ON_CPU if device.type == "cpu" else ON_CUDA


def to_format(x: Tensor, layout: torch.memory_format) -> Tensor:
    """A batch in a memory format.

    With one channel torch takes all formats for equal; the strides are set here even then.
    """
    if layout == torch.contiguous_format:
        return x.flatten(1).view(x.shape)
    return x.contiguous(memory_format=layout)


def _overruns(module: nn.Module) -> bool:
    """Whether oneDNN would write past a buffer in channels_last format."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < BLOCK
    )
