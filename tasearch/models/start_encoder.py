"""The weights with which an encoder of transformers starts: those of its teacher's layers."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from tasearch.models.hf import Encoder

LAYER = re.compile(r"^(.*\.layers?\.)(\d+)(\..*)$")  # name of a tensor of a layer, with its number
WORDS = "word_embeddings.weight"  # end of the name of the embedding, whose rows are the vocabulary


def layers_of(count: int, teachers: int) -> list[int]:
    """Which layers of a teacher a student with fewer starts from.

    Example:
        >>> layers_of(3, 5), layers_of(2, 4), layers_of(1, 4), layers_of(4, 4)
        ([0, 2, 4], [0, 3], [0], [0, 1, 2, 3])
    """
    gaps = max(1, count - 1)
    return [(i * (teachers - 1) + gaps // 2) // gaps for i in range(count)]


def encoder_misfit(net: Encoder, teacher: nn.Module) -> str:
    """Why an encoder cannot start from a teacher's weights; empty if it can."""
    if not isinstance(teacher, Encoder):
        return "both should be encoders of transformers"
    own, other = net.state_dict(), teacher.state_dict()
    if _layers(own) > _layers(other):
        counts = f"{_layers(own)} and {_layers(other)}"
        return f"it should have no more layers than its teacher, found {counts}"
    for name, source in _sources(own, other).items():
        if source not in other:
            return f"it should be of its teacher's kind, which has no {source}"
        wanted, found = tuple(own[name].shape), tuple(other[source].shape)
        if name.endswith(WORDS) and wanted[0] <= found[0]:
            wanted, found = wanted[1:], found[1:]
        if wanted != found:
            return f"it should be as wide as its teacher, found {name} of {wanted} and {found}"
    return ""


def start_encoder(net: Encoder, teacher: nn.Module) -> None:
    """Give an encoder the weights of a teacher that fits, in place.

    Of a larger vocabulary the first tokens are taken.
    """
    own, other = net.state_dict(), teacher.state_dict()
    with torch.no_grad():
        for name, source in _sources(own, other).items():
            value = other[source]
            own[name].copy_(value[: len(own[name])] if value.ndim else value)


def _layers(state: dict[str, Tensor]) -> int:
    """Number of layers of an encoder."""
    found = [int(match[2]) for match in map(LAYER.match, state) if match]
    return max(found, default=-1) + 1


def _sources(own: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, str]:
    """By the name of each tensor, the name of the teacher's that it starts from."""
    places = layers_of(_layers(own), _layers(other))
    named = {name: LAYER.match(name) for name in own}
    return {
        name: f"{match[1]}{places[int(match[2])]}{match[3]}" if match else name
        for name, match in named.items()
    }
