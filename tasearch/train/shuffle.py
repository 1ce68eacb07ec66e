"""Random orders that are the same on every device, and are drawn on the device that uses them."""

from __future__ import annotations

import torch
from torch import Tensor

WEYL = 0x9E3779B97F4A7C15
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST = 31


def shuffled(count: int, seed: int, device: torch.device) -> Tensor:
    """The numbers 0 to count - 1 in a random order, int64 (count,).

    They are sorted by their hashes, which are the numbers of SplitMix64 (Steele, Lea and Flood,
    OOPSLA 2014, figure 14). Torch's own generators give different numbers on different devices.

    Args:
        count: How many numbers.
        seed: Seed of the order, at least 0 and below 2**63.
        device: Device that computes the order; the host does not wait for it.
    """
    z = torch.arange(1, count + 1, device=device) * _signed(WEYL) + seed
    for bits, factor in MIX:
        z = (z ^ _shifted(z, bits)) * _signed(factor)
    order: Tensor = (z ^ _shifted(z, LAST)).argsort(stable=True)
    return order


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Words of 64 bits shifted to the right, with zeros from the left."""
    found: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return found


def _signed(word: int) -> int:
    """A word of 64 bits as the int64 with the same bits."""
    return word - 2**64 if word >= 2**63 else word
