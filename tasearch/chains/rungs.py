"""Rungs: the epochs at which a model is evaluated and saved, and at which of them it teaches."""

from __future__ import annotations

import math

from tasearch.chains.recipe import PROGRESSIVE, Recipe


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """The epochs at which a model is evaluated: evenly spaced, the last epoch among them."""
    return sorted({math.ceil(epochs * i / rungs) for i in range(1, rungs + 1)})


def teaching_rung(recipe: Recipe, epoch: int, rungs: int) -> int:
    """The rung of its own training after which a teacher teaches, 1 to `rungs`.

    A fraction f means rung ceil(f * rungs): an early-stopped teacher (Cho and Hariharan, arXiv
    1910.01348). A progressive teacher has done the same share of its training as its student will
    have done at the end of the epoch, also rounded up (Panigrahi et al., arXiv 2410.05464).

    Args:
        recipe: The recipe of the model that learns.
        epoch: Number of the epoch in which it learns, from 0.
        rungs: Number of rungs of the teacher's training; the last one is the trained teacher.
    """
    if recipe.teacher_epoch == PROGRESSIVE:
        return -(-(epoch + 1) * rungs // recipe.epochs)
    share = round(float(recipe.teacher_epoch) * rungs, 9)  # 0.07 * 100 is a little more than 7
    return max(1, math.ceil(share))
