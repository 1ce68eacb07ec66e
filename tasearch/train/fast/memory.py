"""How many models there is memory for, side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tasearch.chains.mode import Mode
from tasearch.errors import message
from tasearch.models.numerics import rounded_up

ON_CPU = "can't allocate memory"  # what torch says there


def is_short(error: BaseException) -> bool:
    """Whether memory was what an error is about."""
    return isinstance(error, torch.OutOfMemoryError) or ON_CPU in message(error)


class Memory:
    """What has become known of the room for wide models.

    A probe has chosen the modes on a device that was idle; it may be less idle later.

    Args:
        warn: told where a hop goes on otherwise than its mode says.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._most: dict[int, int] = {}

    def most(self, width: int) -> int | None:
        """Slots of a wide model that there is room for; None where nothing is known."""
        return self._most.get(width)

    def halved(self, label: str, width: int, mode: Mode, models: int) -> bool:
        """Whether a hop that had no room goes on with half as many models side by side.

        In a shared mode, models are the same in any multiple of its slots, and there are no fewer;
        in another they round otherwise in smaller models, and there may be one at a time.

        Args:
            label: of the hop.
            width: of its models.
            mode: likewise.
            models: that had no room.
        """
        if mode.slots is None:
            return False
        least = mode.slots if mode.shared else 1
        tried = rounded_up(models, mode.slots)
        tried = min(tried, self._most.get(width, tried))
        fewer = rounded_up(rounded_up(tried, 2) // 2, least)
        if fewer >= tried:
            return False
        self._most[width] = fewer
        words = "" if mode.shared else ", which rounds otherwise"
        self._warn(
            f"hop {label}: no memory for {tried} models side by side, goes on with {fewer}{words}"
        )
        return True
