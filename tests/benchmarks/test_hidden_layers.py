"""The benchmark of losses on hidden layers: what it remembers, and how it summarizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.hidden_layers import Remembered, summary
from tasearch.data.ids import Ids, Tokens
from tasearch.models.families import FAMILIES
from tasearch.models.hidden import read_hidden
from tasearch.models.wrappers import taking

TOKENS = Tokens(vocabulary=30, pad=0, cls=2, sep=3, length=8)
IDS = Ids(low=0, high=29, dtype="int64", tokens=TOKENS)


def test_remembered_layers_are_those_of_the_model() -> None:
    torch.manual_seed(0)
    inner = FAMILIES["transformer"](16, in_shape=(8,), num_classes=3, tokens=TOKENS, layers=3)
    for parameter in inner.parameters():
        nn.init.normal_(parameter, std=0.3)
    net = taking(IDS, inner).eval()
    ids = torch.randint(4, 30, (6, 8))
    ids[1, 5:], ids[2, 2:] = 0, 0
    read = Remembered({0, 2})
    with torch.no_grad():
        read(net, ids)
        _, expected = read_hidden(net, ids.flip(0))
        nn.init.zeros_(inner.words.weight)  # it is not asked again
        _, found = read(net, ids.flip(0))
    assert torch.equal(found.mask, expected.mask)
    own = expected.mask
    pairs = [
        (found.embeddings, expected.embeddings),
        *zip(found.vectors, expected.vectors, strict=True),
    ]
    pairs += [(found.states[i], expected.states[i]) for i in (0, 2)]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours[own], theirs[own])


def line(way: str, seed: int, validation: float) -> dict[str, Any]:
    own = {"validation": validation, "test": 0.5, "cpu_s": 1.0, "size": "s", "weight": 1.0}
    return {**own, "way": way, "seed": seed}


def test_gains_are_paired_by_seed() -> None:
    lines = [line("soft targets", seed, value) for seed, value in ((1, 0.5), (2, 0.7), (3, 0.6))]
    lines += [line("states", seed, value) for seed, value in ((1, 0.51), (2, 0.73), (9, 0.1))]
    found = summary(lines)
    assert found["s, soft targets, weight 1"]["validation"] == {"mean": 60.0}
    states = found["s, states, weight 1"]
    assert states["seeds"] == 2
    own = states["validation"]
    assert (own["mean"], own["gain"]) == (62.0, 2.0)
    assert own["high"] - own["gain"] == pytest.approx(12.71 * 1.0, abs=0.01)  # t of one degree
    assert states["test"] == {"mean": 50.0, "gain": 0.0, "low": 0.0, "high": 0.0}
