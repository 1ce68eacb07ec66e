"""Random orders that are the same on every device, and drawn where they are used."""

from __future__ import annotations

import torch
from torch import Tensor

WEYL = 0x9E3779B97F4A7C15
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST = 31


def shuffled(count: int, seed: int, device: torch.device) -> Tensor:
    """Places 0 .. count - 1 in a random order, int64 (count,), on the device.

    They are sorted by their hashes, the numbers of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014,
    figure 14). Generators of torch give other numbers on other devices.

    Args:
        count: of places.
        seed: from 0, below 2 ** 63.
        device: of the result; the host waits for nothing.
    """
    z = torch.arange(1, count + 1, device=device) * _signed(WEYL) + seed
    for bits, factor in MIX:
        z = (z ^ _shifted(z, bits)) * _signed(factor)
    order: Tensor = (z ^ _shifted(z, LAST)).argsort(stable=True)
    return order


def _shifted(z: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left."""
    found: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return found


def _signed(word: int) -> int:
    """64 bits as the number that int64 takes them for."""
    return word - 2**64 if word >= 2**63 else word
