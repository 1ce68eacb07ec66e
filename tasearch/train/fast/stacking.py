"""Several pupils of one architecture as one wide model.

Channels of all pupils lie side by side: a convolution becomes a grouped one, a batch norm a wider
one, a dense layer a batched product; what has no weights stays. A step then makes one call where
as many pupils alone make as many calls each, which is most of the time of a small net.

Every tensor of the wide model is (pupils * n, ...) where a pupil's is (n, ...).

No sum runs over pupils, so a pupil's result depends on nobody beside it. Where its seat, and their
number, change no rounding either, which `tasearch.train.fast.autotuning` tries, any pupils may
share a wide model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.models.numerics import rounded_up
from tasearch.train.fast.norms import QUICK, hooked

LINE = 64  # bytes, of the processor's cache
RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)  # pupils draw alone


class CannotFuse(Exception):
    """The model has a layer whose wide form is not known; the message says which."""

    def __init__(self, what: object) -> None:
        name = type(what).__name__ if isinstance(what, nn.Module) else what
        super().__init__(f"the wide form of {name} is not known")


class _Products(torch.autograd.Function):
    """`x @ weight.T + bias` of each pupil, every matrix aligned in memory alike.

    A product of matrices rounds otherwise where they begin elsewhere within a cache line, so rows
    are as long as whole lines. The bias is one more column of the weights: its gradient is part of
    a product as well, not a sum over columns of all pupils in the vector unit's strides.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:  # (pupils, batch, m) from (batch, pupils, n), (pupils, m, n), (pupils, m)
        batch, pupils, n = x.shape
        row = rounded_up(n + 1, LINE // x.element_size())
        inputs = x.new_zeros(pupils, batch, row)
        inputs[..., :n] = x.transpose(0, 1)
        kernels = weight.new_zeros(pupils, weight.shape[1], row)
        kernels[..., :n] = weight
        if bias is not None:
            inputs[..., n] = 1
            kernels[..., n] = bias
        ctx.save_for_backward(inputs, kernels)
        ctx.n, ctx.biased = n, bias is not None
        return torch.bmm(inputs, kernels.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        (grad,) = grads
        inputs, kernels = ctx.saved_tensors
        n = ctx.n
        back = torch.bmm(grad, kernels)[..., :n].transpose(0, 1)
        own = torch.bmm(grad.transpose(1, 2), inputs)
        return back, own[..., :n], own[..., n] if ctx.biased else None


class _Dense(nn.Module):
    """`nn.Linear` of several pupils: (batch, pupils * n) to (batch, pupils * m)."""

    def __init__(self, linear: nn.Linear, pupils: int) -> None:
        super().__init__()
        self.pupils = pupils
        self.weight = nn.Parameter(linear.weight.detach().repeat(pupils, 1))
        self.bias: nn.Parameter | None = None
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().repeat(pupils))

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(len(x), self.pupils, -1)
        weight = self.weight.view(self.pupils, -1, x.shape[-1])
        bias = None if self.bias is None else self.bias.view(self.pupils, -1)
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        y: Tensor = _Products.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y.transpose(0, 1).flatten(1)


def _conv(conv: nn.Module, pupils: int) -> nn.Module:
    assert isinstance(conv, nn.Conv1d | nn.Conv2d)
    if conv.padding_mode != "zeros":
        raise CannotFuse(f"a convolution with padding_mode {conv.padding_mode!r}")
    return type(conv)(
        pupils * conv.in_channels,
        pupils * conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        pupils * conv.groups,
        conv.bias is not None,
    )


def _norm(norm: nn.Module, pupils: int) -> nn.Module:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return type(norm)(
        pupils * norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
    )


def _unflatten(module: nn.Module, pupils: int) -> nn.Module:
    assert isinstance(module, nn.Unflatten)
    first, *rest = module.unflattened_size
    if module.dim != 1 or not isinstance(first, int):
        raise CannotFuse(module)
    return nn.Unflatten(1, (pupils * first, *rest))


def _dense(module: nn.Module, pupils: int) -> nn.Module:
    assert isinstance(module, nn.Linear)
    return _Dense(module, pupils)


WIDE: dict[type[nn.Module], Callable[[nn.Module, int], nn.Module]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Linear: _dense,
    nn.Unflatten: _unflatten,
}
WIDE |= {quick: WIDE[plain] for plain, quick in QUICK.items()}


def widened(net: nn.Module, pupils: int) -> nn.Module:
    """A model of `pupils` pupils like `net`; its weights are to be copied in.

    It takes (batch, pupils * channels, ...) and gives (batch, pupils * classes).

    Raises:
        CannotFuse: where a module with weights of its own, or a random one, is none of `WIDE`, two
            modules share weights or buffers, or one has hooks.
        Exception: whatever copying a user's model raises.
    """
    if any(map(hooked, net.modules())):
        raise CannotFuse("a module with hooks")
    buffers = [b.data_ptr() for _, b in net.named_buffers(remove_duplicate=False) if b.numel()]
    if len({*buffers}) < len(buffers):
        raise CannotFuse("modules that share buffers")
    trained = {name: p.requires_grad for name, p in net.named_parameters()}
    wide = _widened(copy.deepcopy(net), pupils).train()
    for name, parameter in wide.named_parameters():
        if name not in trained:
            raise CannotFuse("modules that share weights")
        parameter.requires_grad_(trained[name])
    return wide


def _widened(net: nn.Module, pupils: int) -> nn.Module:
    """The same, changed in place where it is not one layer."""
    if type(net) in WIDE:
        return _placed(net, pupils)
    for module in [*net.modules()]:
        if type(module) in WIDE:
            continue
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if own or isinstance(module, RANDOM):
            raise CannotFuse(module)
        for name, child in module.named_children():
            if type(child) in WIDE:
                setattr(module, name, _placed(child, pupils))
    return net


def _placed(layer: nn.Module, pupils: int) -> nn.Module:
    """The wide form of a layer, of its type of numbers and on its device."""
    wide = WIDE[type(layer)](layer, pupils)
    example = next((t for t in layer.state_dict().values() if t.is_floating_point()), None)
    return wide if example is None else wide.to(example.device, example.dtype)


def repeated(parts: list[Tensor]) -> Tensor:
    """The inputs of all pupils side by side: (batch, pupils * channels, ...)."""
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def pairs(wide: nn.Module, nets: list[nn.Module]) -> Iterator[tuple[Tensor, list[Tensor], bool]]:
    """(the wide tensor by pupil, each pupil's, True) of all weights and buffers.

    What a pupil has as one number, such as a count of batches, is one number of the wide model
    too: then the wide tensor is as it is, and the last of the three is False.
    """
    own = [dict(net.state_dict(keep_vars=True)) for net in nets]
    for name, tensor in wide.state_dict(keep_vars=True).items():
        parts = [named[name] for named in own]
        if tensor.ndim == 0:
            yield tensor, parts, False
        else:
            yield tensor.view(len(nets), *parts[0].shape), parts, True
