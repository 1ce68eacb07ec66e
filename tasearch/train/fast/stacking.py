"""Several models of one architecture as one stacked model.

The channels of all models are side by side: a convolution becomes a grouped one, a batch norm a
wider one, a dense layer a batched product; modules without weights stay as they are. A step then
makes one call where separate models make one call each, and in a small net such calls take most of
the time (HFTA: Wang et al., 2102.02344).

Every tensor of the stacked model is (models * n, ...) where a single model's is (n, ...).

No sum runs over models, so a model's result does not depend on the models in other slots. Models
of different hops may share a stacked model if, in addition, neither the slot nor the number of
slots changes the rounding; `tasearch.train.fast.autotuning` tests that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.models.numerics import rounded_up
from tasearch.train.fast.norms import FUSED_NORMS, hooked

CACHE_LINE = 64  # bytes
# each model must draw its own noise
RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)


class CannotStack(Exception):
    """The model has a layer whose stacked form is not known; the message says which.

    Args:
        layer: The layer, or words for it.
    """

    def __init__(self, layer: nn.Module | str) -> None:
        name = type(layer).__name__ if isinstance(layer, nn.Module) else layer
        super().__init__(f"the stacked form of {name} is not known")


class _Products(torch.autograd.Function):
    """`x @ weight.T + bias` of each model, with all matrices aligned alike in memory.

    A matrix product rounds differently if a matrix starts at another place within a cache line, so
    each line of a matrix is padded to whole cache lines. The bias is one more column of the
    weights: its gradient is then part of a product too. A sum over the columns of all models would
    be split by the width of the vector unit, and round differently in different slots.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:  # (models, batch, m) from (batch, models, n), (models, m, n), (models, m)
        batch, models, n = x.shape
        row = rounded_up(n + 1, CACHE_LINE // x.element_size())
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


STACKED_LAYERS: dict[type[nn.Module], Callable[[nn.Module, int], nn.Module]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Linear: _dense,
    nn.Unflatten: _unflatten,
}
STACKED_LAYERS |= {fused: STACKED_LAYERS[plain] for plain, fused in FUSED_NORMS.items()}


def stacked_model(net: nn.Module, models: int) -> nn.Module:
    """A stacked model of several models like `net`; their weights are not copied to it.

    Args:
        net: One model; it stays as it is.
        models: Number of models.

    Returns:
        A module from (batch, models * channels, ...) to (batch, models * classes).

    Raises:
        CannotStack: If a module that has weights, or is random, is not in `STACKED_LAYERS`; if two
            modules share weights or buffers; or if a module has hooks.
        Exception: Whatever copying a user's model raises.
    """
    if any(map(hooked, net.modules())):
        raise CannotStack("a module with hooks")
    buffers = [b.data_ptr() for _, b in net.named_buffers(remove_duplicate=False) if b.numel()]
    if len({*buffers}) < len(buffers):
        raise CannotStack("modules that share buffers")
    trained = {name: p.requires_grad for name, p in net.named_parameters()}
    wide = _stack_layers(copy.deepcopy(net), models).train()
    for name, parameter in wide.named_parameters():
        if name not in trained:
            raise CannotStack("modules that share weights")
        parameter.requires_grad_(trained[name])
    return wide


def _stack_layers(net: nn.Module, models: int) -> nn.Module:
    """The net with its layers replaced, in place unless the net is a single layer itself."""
    if type(net) in STACKED_LAYERS:
        return _stacked_layer(net, models)
    for module in [*net.modules()]:
        if type(module) in STACKED_LAYERS:
            continue
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if own or isinstance(module, RANDOM):
            raise CannotStack(module)
        for name, child in module.named_children():
            if type(child) in STACKED_LAYERS:
                setattr(module, name, _stacked_layer(child, models))
    return net


def _stacked_layer(layer: nn.Module, models: int) -> nn.Module:
    """The stacked form of a layer, with the layer's dtype and device."""
    wide = STACKED_LAYERS[type(layer)](layer, models)
    example = next((t for t in layer.state_dict().values() if t.is_floating_point()), None)
    return wide if example is None else wide.to(example.device, example.dtype)


def side_by_side(parts: list[Tensor]) -> Tensor:
    """The inputs of a stacked model, (batch, models * channels, ...), from those of each model."""
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def tensor_pairs(
    wide: nn.Module, nets: list[nn.Module]
) -> Iterator[tuple[Tensor, list[Tensor], bool]]:
    """All weights and buffers of a stacked model, with the same tensors of each model.

    Args:
        wide: The stacked model, or a single model.
        nets: The models that it consists of.

    Yields:
        The stacked tensor, (models, ...); the tensor of each model; and True. A single number of a
        model, such as a count of batches, is a single number of the stacked model too: then the
        stacked tensor has no axis of models, and the last value is False.
    """
    own = [dict(net.state_dict(keep_vars=True)) for net in nets]
    for name, tensor in wide.state_dict(keep_vars=True).items():
        parts = [named[name] for named in own]
        if tensor.ndim == 0:
            yield tensor, parts, False
        else:
            yield tensor.view(len(nets), *parts[0].shape), parts, True
