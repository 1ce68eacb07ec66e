"""Several models of one architecture as one wide model.

Channels of all models lie side by side: a convolution becomes a grouped one, a batch norm a wider
one, a dense layer a batched product; what has no weights stays. A step then makes one call where
as many models alone make as many calls each, which is most of the time of a small net.

Every tensor of the wide model is (models * n, ...) where a model's is (n, ...).

No sum runs over models, so a model's result depends on nobody beside it. Where its slot, and their
number, change no rounding either, which `tasearch.train.fast.autotuning` tries, any models may
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
RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)  # models draw alone


class CannotStack(Exception):
    """The model has a layer whose wide form is not known; the message says which."""

    def __init__(self, what: object) -> None:
        name = type(what).__name__ if isinstance(what, nn.Module) else what
        super().__init__(f"the wide form of {name} is not known")


class _Products(torch.autograd.Function):
    """`x @ weight.T + bias` of each model, every matrix aligned in memory alike.

    A product of matrices rounds otherwise where they begin elsewhere within a cache line, so rows
    are as long as whole lines. The bias is one more column of the weights: its gradient is part of
    a product as well, not a sum over columns of all models in the vector unit's strides.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:  # (models, batch, m) from (batch, models, n), (models, m, n), (models, m)
        batch, models, n = x.shape
        row = rounded_up(n + 1, LINE // x.element_size())
        inputs = x.new_zeros(models, batch, row)
        inputs[..., :n] = x.transpose(0, 1)
        kernels = weight.new_zeros(models, weight.shape[1], row)
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
    """`nn.Linear` of several models: (batch, models * n) to (batch, models * m)."""

    def __init__(self, linear: nn.Linear, models: int) -> None:
        super().__init__()
        self.models = models
        self.weight = nn.Parameter(linear.weight.detach().repeat(models, 1))
        self.bias: nn.Parameter | None = None
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().repeat(models))

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(len(x), self.models, -1)
        weight = self.weight.view(self.models, -1, x.shape[-1])
        bias = None if self.bias is None else self.bias.view(self.models, -1)
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        y: Tensor = _Products.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y.transpose(0, 1).flatten(1)


def _conv(conv: nn.Module, models: int) -> nn.Module:
    assert isinstance(conv, nn.Conv1d | nn.Conv2d)
    if conv.padding_mode != "zeros":
        raise CannotStack(f"a convolution with padding_mode {conv.padding_mode!r}")
    return type(conv)(
        models * conv.in_channels,
        models * conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        models * conv.groups,
        conv.bias is not None,
    )


def _norm(norm: nn.Module, models: int) -> nn.Module:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return type(norm)(
        models * norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
    )


def _unflatten(module: nn.Module, models: int) -> nn.Module:
    assert isinstance(module, nn.Unflatten)
    first, *rest = module.unflattened_size
    if module.dim != 1 or not isinstance(first, int):
        raise CannotStack(module)
    return nn.Unflatten(1, (models * first, *rest))


def _dense(module: nn.Module, models: int) -> nn.Module:
    assert isinstance(module, nn.Linear)
    return _Dense(module, models)


WIDE: dict[type[nn.Module], Callable[[nn.Module, int], nn.Module]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Linear: _dense,
    nn.Unflatten: _unflatten,
}
WIDE |= {quick: WIDE[plain] for plain, quick in QUICK.items()}


def widened(net: nn.Module, models: int) -> nn.Module:
    """A model of `models` models like `net`; its weights are to be copied in.

    It takes (batch, models * channels, ...) and gives (batch, models * classes).

    Raises:
        CannotStack: where a module with weights of its own, or a random one, is none of `WIDE`, two
            modules share weights or buffers, or one has hooks.
        Exception: whatever copying a user's model raises.
    """
    if any(map(hooked, net.modules())):
        raise CannotStack("a module with hooks")
    buffers = [b.data_ptr() for _, b in net.named_buffers(remove_duplicate=False) if b.numel()]
    if len({*buffers}) < len(buffers):
        raise CannotStack("modules that share buffers")
    trained = {name: p.requires_grad for name, p in net.named_parameters()}
    wide = _widened(copy.deepcopy(net), models).train()
    for name, parameter in wide.named_parameters():
        if name not in trained:
            raise CannotStack("modules that share weights")
        parameter.requires_grad_(trained[name])
    return wide


def _widened(net: nn.Module, models: int) -> nn.Module:
    """The same, changed in place where it is not one layer."""
    if type(net) in WIDE:
        return _placed(net, models)
    for module in [*net.modules()]:
        if type(module) in WIDE:
            continue
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if own or isinstance(module, RANDOM):
            raise CannotStack(module)
        for name, child in module.named_children():
            if type(child) in WIDE:
                setattr(module, name, _placed(child, models))
    return net


def _placed(layer: nn.Module, models: int) -> nn.Module:
    """The wide form of a layer, of its type of numbers and on its device."""
    wide = WIDE[type(layer)](layer, models)
    example = next((t for t in layer.state_dict().values() if t.is_floating_point()), None)
    return wide if example is None else wide.to(example.device, example.dtype)


def repeated(parts: list[Tensor]) -> Tensor:
    """The inputs of all models side by side: (batch, models * channels, ...)."""
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def pairs(wide: nn.Module, nets: list[nn.Module]) -> Iterator[tuple[Tensor, list[Tensor], bool]]:
    """(the wide tensor by model, each model's, True) of all weights and buffers.

    What a model has as one number, such as a count of batches, is one number of the wide model
    too: then the wide tensor is as it is, and the last of the three is False.
    """
    own = [dict(net.state_dict(keep_vars=True)) for net in nets]
    for name, tensor in wide.state_dict(keep_vars=True).items():
        parts = [named[name] for named in own]
        if tensor.ndim == 0:
            yield tensor, parts, False
        else:
            yield tensor.view(len(nets), *parts[0].shape), parts, True
