"""Schedules: the learning rate and the momentum at each step of a training."""

from __future__ import annotations

import math
from collections.abc import Callable

from tasearch.chains.recipe import Recipe

START, END = 1 / 25, 1e-4  # one-cycle's first and last learning rate, as fractions of the peak
MOMENTUM = (0.95, 0.85)  # one-cycle's momentum at both ends, and at the peak


def cosine(step: int, steps: int, recipe: Recipe) -> tuple[float, float | None]:
    """A linear warm-up, then half a cosine down to zero; the momentum stays.

    Args:
        step: Number of the step, from 0.
        steps: Number of steps of the whole training.
        recipe: The model's recipe.

    Returns:
        The learning rate, and the momentum; None for a momentum that stays.
    """
    warm = recipe.warmup * steps
    rise = min(1.0, (step + 1) / warm) if warm else 1.0
    fall = max(0.0, step - warm) / max(1.0, steps - warm)
    return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * fall)), None


def one_cycle(step: int, steps: int, recipe: Recipe) -> tuple[float, float | None]:
    """Up to the peak during the warm-up, then far down; the momentum goes the other way.

    Both parts are half cosines (Smith and Topin, 1708.07120).

    Args:
        step: Number of the step, from 0.
        steps: Number of steps of the whole training.
        recipe: The model's recipe.

    Returns:
        The learning rate, and the momentum.
    """
    peak = recipe.learning_rate
    top = max(0.0, recipe.warmup * steps - 1)
    if step < top:
        share = step / top
        return _between(peak * START, peak, share), _between(MOMENTUM[0], MOMENTUM[1], share)
    share = (step - top) / max(1e-9, steps - 1 - top)
    return _between(peak, peak * START * END, share), _between(MOMENTUM[1], MOMENTUM[0], share)


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` at 0 to `end` at 1."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


SCHEDULES: dict[str, Callable[[int, int, Recipe], tuple[float, float | None]]] = {
    "cosine": cosine,
    "one-cycle": one_cycle,
}
