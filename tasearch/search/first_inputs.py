"""Which samples a loaded teacher takes, by how good it is with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import ModelError
from tasearch.models import Models
from tasearch.search.teacher_look import TeacherLook, look_at_teacher

Keys = dict[str, Any]  # of the section of the teacher


def best_inputs(
    study_with: Callable[[Keys], Study], data: Dataset, say: Callable[[str], None]
) -> tuple[Keys, Models]:
    """Find out which samples a loaded teacher takes: those with which it does best.

    Args:
        study_with: Called with keys of the teacher; gives the study with them.
        data: Its data.
        say: Called with each line about what was found.

    Returns:
        The keys that say so, and the models of the study with them.

    Raises:
        ModelError: The teacher fails with all of them.
    """
    guesses = _guesses(data, stated=study_with({}).teacher.pretrained)
    tried: dict[str, tuple[float, Models, TeacherLook]] = {}
    failed = []
    for inputs, keys in guesses.items():
        models = Models.for_study(study_with(keys), data)
        try:
            look = look_at(models, data)
        except ModelError as error:  # such as logits that are too large, of samples of a wrong kind
            failed.append(error)
        else:
            tried[inputs] = (look.accuracy or 0.0, models, look)
    if not tried:
        raise failed[0]
    best = max(tried, key=lambda inputs: tried[inputs][0])
    _, models, look = tried[best]
    guessed = ""
    if len(guesses) > 1:
        found = (f"{i} {tried[i][0]:.1%}" if i in tried else f"{i} fails" for i in guesses)
        guessed = (
            f"which samples it takes is a guess, the best of {', '.join(found)}; if it was trained "
            f"on others, set teacher.inputs, or teacher.mean and teacher.std"
        )
    say_teacher(models, look, say, guessed)
    return guesses[best], models


def look_at(models: Models, data: Dataset) -> TeacherLook:
    """The first look at the teacher of a study, on the CPU."""
    return look_at_teacher(models, data, torch.device("cpu"))


def say_teacher(
    models: Models, look: TeacherLook, say: Callable[[str], None], more: str = ""
) -> None:
    """Tell what is known of a teacher.

    Args:
        models: The models of the study.
        look: What the first look at its teacher found.
        say: Called with each line.
        more: A line that follows the one about the teacher; empty if there is none.
    """
    say(f"{models.describe_teacher()}{look.words}")
    if more:
        say(more)
    for notice in look.notices:
        say(f"notice: {notice}")


def _guesses(data: Dataset, *, stated: bool) -> dict[str, Keys]:
    """The samples that a teacher may take, in words, and the keys that say so.

    Args:
        data: The data.
        stated: Whether the package that it is of states them.
    """
    guesses: dict[str, Keys] = {"raw": {"inputs": "raw"}}
    if stated or data.tokens is not None:
        return guesses
    guesses["standardized"] = {"inputs": "standardized"}
    if len(data.in_shape) == 3 and data.train.x.dtype == np.uint8:  # which mean and std scale
        guesses["divided by 255"] = {"inputs": "raw", "mean": 0.0, "std": 1.0}
    return guesses
