"""What fits in memory at once: samples, and models."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tasearch.chains.mode import Mode
from tasearch.errors import message
from tasearch.models.numerics import rounded_up

SAMPLES = 2**29  # bytes of samples that a process keeps on CPU
GPU_FRACTION = 1 / 4  # fraction of a GPU's memory that samples may take
ON_CPU = "can't allocate memory"  # part of torch's message


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted."""
    return isinstance(error, torch.OutOfMemoryError) or ON_CPU in message(error)


def samples_in_memory(device: torch.device) -> float:
    """Largest size in bytes of samples that a process keeps; more stay in their file."""
    if device.type != "cuda":
        return SAMPLES
    return torch.cuda.get_device_properties(device).total_memory * GPU_FRACTION


class Memory:
    """The largest stacked models that fit in memory, as far as failures have shown.

    Autotuning has chosen the modes on an idle device, where more memory may have been free.

    Args:
        warn: Function that receives a message when a hop continues in smaller stacked models.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._most: dict[int, int] = {}

    def most(self, width: int) -> int | None:
        """Largest number of slots for models of a width; None where none has failed."""
        return self._most.get(width)

    def halve(self, label: str, width: int, mode: Mode, models: int) -> bool:
        """Whether a hop can continue with half as many models at once; if so, that is noted.

        In a shared mode a model is the same bit for bit in any multiple of the mode's slots, and
        there are never fewer slots. In another mode the last bits depend on the number of models,
        which may go down to one.

        Args:
            label: The hop's label, for the warning.
            width: Width of the hop's models.
            mode: Mode of the hop's models.
            models: Number of models that did not fit.
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
        words = "" if mode.shared else "; the last bits may differ"
        self._warn(
            f"hop {label}: no memory for {tried} models at once; continuing with {fewer}{words}"
        )
        return True
