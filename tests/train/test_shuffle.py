"""Random orders, against SplitMix64 in whole numbers of Python."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tasearch.train.shuffle import shuffled
from tests.helpers.training import DEVICES

PUBLISHED = [  # the first numbers of seed 1234567, as implementations of it print them
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
WORD = 2**64 - 1


def numbers(seed: int, count: int) -> list[int]:
    found = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & WORD
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        found.append(z ^ (z >> 31))
    return found


def signed(word: int) -> int:
    return word - 2**64 if word >> 63 else word


def test_reference_equals_published_splitmix64() -> None:
    assert numbers(1234567, len(PUBLISHED)) == PUBLISHED


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", [0, 1234567, 2**63 - 1])
def test_shuffle_sorts_places_by_their_hashes(device: str, seed: int) -> None:
    hashes = [signed(word) for word in numbers(seed, 1000)]
    expected = sorted(range(1000), key=hashes.__getitem__)
    assert shuffled(1000, seed, torch.device(device)).tolist() == expected


def test_shuffle_puts_every_place_once_and_everywhere() -> None:
    orders = [shuffled(10, seed, torch.device("cpu")).tolist() for seed in range(4000)]
    assert all(sorted(order) == [*range(10)] for order in orders)
    for place in range(10):
        counts = torch.tensor([order[place] for order in orders]).bincount(minlength=10)
        assert ((counts - 400).abs() < 5 * 360**0.5).all()  # five standard deviations
    steps = [a - b for order in orders for a, b in pairwise(order)]
    assert abs(sum(steps) / len(steps)) < 0.1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_shuffle_permutes_few_places(count: int) -> None:
    assert sorted(shuffled(count, 5, torch.device("cpu")).tolist()) == [*range(count)]
