"""The weights with which a transformer starts, cut out of those of its teacher.

Layers are taken evenly spaced, the first and the last one included (as in Sanh et al., arXiv
1910.01108, whose student has every second layer of its teacher). Where the student is narrower, it
gets

- the channels with the largest norm in the teacher's embedding of tokens, the same everywhere;
- the heads with the largest norm in the matrix behind attention; in each, the features with the
  largest product of the norms of both matrices that they link;
- the hidden units with the largest product of the norms of their two matrices.

All of them keep their order. Nothing is random, and between equal sizes all tensors are copies.

An encoder of the package transformers takes layers alike, and all else as it is: it should be as
wide as its teacher.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tasearch.chains.sizes import sized
from tasearch.config.study import Study
from tasearch.errors import ModelError
from tasearch.models.hf import Encoder
from tasearch.models.start_encoder import encoder_misfit, layers_of, start_encoder
from tasearch.models.transformer import Attention, Block, Transformer
from tasearch.models.wrappers import without_wrappers


def start_from(net: nn.Module, teacher: nn.Module) -> None:
    """Give a transformer weights of its teacher, in place.

    Args:
        net: The model that is to be trained, on the CPU.
        teacher: The model before; it stays as it is.

    Raises:
        ModelError: Some dimension of the teacher is smaller, or it is of another kind.
    """
    own, other = without_wrappers(net), without_wrappers(teacher)
    reason = misfit(own, other)
    if reason:
        raise ModelError(f"cannot start from its teacher's weights: {reason}")
    if isinstance(own, Encoder):
        start_encoder(own, other)
        return
    assert isinstance(own, Transformer) and isinstance(other, Transformer)
    channels = _largest(_norms(other.words.weight, 1), own.words.embedding_dim)
    with torch.no_grad():
        own.words.weight.copy_(_cpu(other.words.weight)[:, channels])
        own.places.copy_(_cpu(other.places)[:, channels])
        if own.second is not None and other.second is not None:
            own.second.copy_(_cpu(other.second)[channels])
        _copy_norm(own.norm, other.norm, channels)
        places = layers_of(len(own.blocks), len(other.blocks))
        for block, place in zip(own.blocks, places, strict=True):
            _start_block(block, other.blocks[place], channels)  # type: ignore[arg-type]
        own.head.weight.copy_(_cpu(other.head.weight)[:, channels])
        own.head.bias.copy_(other.head.bias)


def misfit(net: nn.Module, teacher: nn.Module) -> str:
    """Why a model cannot start from a teacher's weights; empty if it can."""
    if isinstance(net, Encoder):
        return encoder_misfit(net, teacher)
    if not isinstance(net, Transformer) or not isinstance(teacher, Transformer):
        return "both should be of the family 'transformer'"
    if net.post != teacher.post:
        return "both should have norms at the same places, pre or post"
    if (net.second is None) != (teacher.second is None):
        return "both should have segments, or neither"
    for (name, own), others in zip(_sizes(net).items(), _sizes(teacher).values(), strict=True):
        if own > others:
            return f"it should have no more {name} than its teacher, found {own} and {others}"
    return ""


def check_starts(study: Study, nets: Mapping[int, nn.Module]) -> None:
    """Refuse models that may have to start from the weights of one that does not fit.

    Args:
        study: The study.
        nets: A model by width; pairs that are not both among them are not checked.

    Raises:
        ModelError: A model does not fit; the message names the key, and both models.
    """
    roles = {"student": study.student}
    teaching = [study.teacher.width]
    if study.assistants.max:
        roles["assistants"] = study.assistants  # type: ignore[assignment]
        teaching += study.assistants.widths
    for role, section in roles.items():
        for width in section.widths if section.inherits else ():
            for wider in teaching:
                if wider <= width or not {wider, width} <= {*nets}:
                    continue
                reason = misfit(without_wrappers(nets[width]), without_wrappers(nets[wider]))
                if reason:
                    raise ModelError(
                        f'{role}.start: "teacher": the model of {sized(width)} cannot start from '
                        f"the weights of that of {sized(wider)}: {reason}"
                    )


def _sizes(net: Transformer) -> dict[str, int]:
    """What a student may have fewer of, by name."""
    block = net.blocks[0]
    assert isinstance(block, Block)
    width, heads = net.words.embedding_dim, block.attention.heads
    return {
        "layers": len(net.blocks),
        "features of a token": width,
        "heads": heads,
        "features of a head": width // heads,
        "hidden units": block.wide.out_features,
    }


def _start_block(block: Block, other: Block, channels: Tensor) -> None:
    for norm, others in zip(block.norms, other.norms, strict=True):
        _copy_norm(norm, others, channels)  # type: ignore[arg-type]
    _start_attention(block.attention, other.attention, channels)
    wide, narrow = _cpu(other.wide.weight), _cpu(other.narrow.weight)
    units = _largest(_norms(wide, 0) * _norms(narrow, 1), block.wide.out_features)
    block.wide.weight.copy_(wide[units][:, channels])
    block.wide.bias.copy_(_cpu(other.wide.bias)[units])
    block.narrow.weight.copy_(narrow[channels][:, units])
    block.narrow.bias.copy_(_cpu(other.narrow.bias)[channels])


def _start_attention(own: Attention, other: Attention, channels: Tensor) -> None:
    """Cut out heads, and features of each.

    Queries are scaled so that a product of a query and a key, divided by the root of the number of
    a head's features, stays what those features give in the teacher.
    """
    width = len(channels)
    full = other.output.in_features // other.heads  # features of a head
    features = width // own.heads
    inputs = _cpu(other.inputs.weight).view(3, other.heads, full, -1)
    biases = _cpu(other.inputs.bias).view(3, other.heads, full)
    output = _cpu(other.output.weight).view(-1, other.heads, full)
    heads = _largest(output.double().square().sum(dim=(0, 2)), own.heads)
    scale = (features / full) ** 0.5
    weights, shifts, behind = [], [], []
    for head in heads:
        query, key, value = (_norms(part, 0) for part in inputs[:, head])
        inner = _largest(query * key, features)
        passed = _largest(value * _norms(output[:, head], 1), features)
        for i, (chosen, factor) in enumerate(((inner, scale), (inner, 1.0), (passed, 1.0))):
            weights.append((i, factor * inputs[i, head][chosen][:, channels]))
            shifts.append((i, factor * biases[i, head][chosen]))
        behind.append(output[:, head][channels][:, passed])
    for i in range(3):
        part = slice(i * width, (i + 1) * width)
        own.inputs.weight[part].copy_(torch.cat([rows for j, rows in weights if j == i]))
        own.inputs.bias[part].copy_(torch.cat([values for j, values in shifts if j == i]))
    own.output.weight.copy_(torch.cat(behind, dim=1))
    own.output.bias.copy_(_cpu(other.output.bias)[channels])


def _copy_norm(norm: nn.LayerNorm, other: nn.LayerNorm, channels: Tensor) -> None:
    norm.weight.copy_(_cpu(other.weight)[channels])
    norm.bias.copy_(_cpu(other.bias)[channels])


def _norms(matrix: Tensor, kept: int) -> Tensor:
    """The norm of each row of a matrix (`kept` is 0) or of each column (1), float64."""
    norms: Tensor = torch.linalg.vector_norm(_cpu(matrix).double(), dim=1 - kept)
    return norms


def _largest(scores: Tensor, count: int) -> Tensor:
    """The places of the largest scores in their order; of equal ones the first."""
    order = scores.sort(descending=True, stable=True).indices
    return order[:count].sort().values


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()
