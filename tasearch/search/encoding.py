"""A chain as a vector of features, from which a regression predicts its student's accuracy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasearch.chains.chain import Chain
from tasearch.chains.recipe import Recipe
from tasearch.chains.recipes import Recipes
from tasearch.chains.space import Space
from tasearch.pareto.measurement import Measurement

Array = np.ndarray[Any, Any]


class ChainEncoder:
    """Features of a chain, numbers of order 1.

    They describe the student by its width, by the searched fields of its recipe, and by these
    fields times the student's size, because the effect of a recipe may change with size. They
    describe the assistants by their number, by the sizes of the first and the last between teacher
    and student, by the largest gap in size, and by the searched fields of their recipe. Sizes are
    on a logarithmic scale of parameters. The first features are of the student's width, one for
    each width in `students`.

    Args:
        space: The chains of the study.
        measured: Size and latency by width.
        students: Widths that a student may have.
    """

    def __init__(
        self, space: Space, measured: Mapping[int, Measurement], students: Sequence[int]
    ) -> None:
        self._size = {width: math.log(max(1, m.params)) for width, m in measured.items()}
        others = max(size for w, size in self._size.items() if w != space.teacher.width)
        if self._size[space.teacher.width] <= others:  # a loaded teacher may have any size
            self._size[space.teacher.width] = others + math.log(2)
        self._students = {width: i for i, width in enumerate(students)}
        sizes = [self._size[width] for width in students]
        self._middle, self._radius = (max(sizes) + min(sizes)) / 2, (max(sizes) - min(sizes)) / 2
        self._max_assistants = space.max_assistants
        self._own = _Options([space.student_recipes, space.assistant_recipes])
        self._shared = _Options([space.assistant_recipes])

    def encode(self, chain: Chain) -> list[float]:
        """The features of a chain.

        Args:
            chain: A chain of the space.
        """
        student, own = chain.student.width, chain.student.recipe
        assert own is not None
        small = (self._middle - self._size[student]) / (self._radius or 1.0)  # -1..1
        found = [0.0] * len(self._students)
        found[self._students[student]] = 1.0
        recipe = self._own.encode(own)
        found += [*recipe, *(small * value for value in recipe)]
        count = len(chain.assistants)
        number = [float(count == n) for n in range(1, self._max_assistants + 1)]
        found += [*number, *(small * value for value in number)]
        sizes = [self._size[width] for width in chain.widths]
        whole = sizes[0] - sizes[-1]
        gaps = [(a - b) / whole for a, b in itertools.pairwise(sizes)]
        last, first, largest = (gaps[-1], gaps[0], max(gaps)) if count else (0.0, 0.0, 0.0)
        found += [last, last**2, first, first**2, largest, small * last, small * first]
        shared = chain.assistants[0].recipe if count else None
        found += self._shared.encode(shared) if shared else self._shared.none
        return found


class _Options:
    """The searched fields of a recipe as numbers: 0 or 1 for names, -1..1 for numbers.

    A teacher epoch counts as a name.

    Args:
        roles: Recipes whose options are joined, so that the same numbers mean the same recipe.
    """

    def __init__(self, roles: Sequence[Recipes]) -> None:
        searched: dict[str, list[Any]] = {}
        for role in roles:
            for name, values in role.options.items():
                known = searched.setdefault(name, [])
                known += [value for value in values if value not in known]
        self._searched = {name: values for name, values in searched.items() if len(values) > 1}

    @property
    def none(self) -> list[float]:
        """The numbers of a recipe that does not exist: of the assistants in a chain without any."""
        return [0.0] * sum(self._width(name, values) for name, values in self._searched.items())

    def encode(self, recipe: Recipe) -> list[float]:
        """The numbers of a recipe."""
        found: list[float] = []
        for name, values in self._searched.items():
            value = getattr(recipe, name)
            if _is_category(name, values):
                found += [float(value == other) for other in values[1:]]
            else:
                logs = [math.log(float(other)) for other in values]
                share = (math.log(float(value)) - min(logs)) / (max(logs) - min(logs))
                found.append(2 * share - 1)
        return found

    @staticmethod
    def _width(name: str, values: Sequence[Any]) -> int:
        return len(values) - 1 if _is_category(name, values) else 1


def _is_category(name: str, values: Sequence[Any]) -> bool:
    """Whether each value has a feature of its own; the best teacher epoch is often in between."""
    return name == "teacher_epoch" or isinstance(values[0], str)
