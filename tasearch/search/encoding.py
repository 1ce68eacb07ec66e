"""A chain as numbers, for a regression of its student's accuracy."""

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
    """Numbers of order 1 that describe a chain.

    Of the student: which width it is, its recipe where that is searched, and how the recipe's
    effect changes with size. Of the assistants: how many, where the last and the first lie between
    teacher and student on a logarithmic scale of parameters, and the largest gap; their recipe. One
    more, which changes while a search goes on, is the accuracy of the model before the student.

    Args:
        space: of the chains.
        measured: by width.
        students: widths that a student may have.
    """

    def __init__(
        self, space: Space, measured: Mapping[int, Measurement], students: Sequence[int]
    ) -> None:
        self._size = {width: math.log(max(1, m.params)) for width, m in measured.items()}
        others = max(size for w, size in self._size.items() if w != space.teacher.width)
        if self._size[space.teacher.width] <= others:  # a loaded teacher may be of any size
            self._size[space.teacher.width] = others + math.log(2)
        self._students = {width: i for i, width in enumerate(students)}
        sizes = [self._size[width] for width in students]
        self._middle, self._half = (max(sizes) + min(sizes)) / 2, (max(sizes) - min(sizes)) / 2
        self._most = space.max_assistants
        self._own = _Options([space.student_recipes, space.assistant_recipes])
        self._shared = _Options([space.assistant_recipes])

    def encode(self, chain: Chain) -> list[float]:
        """All but the ancestor's accuracy."""
        student, own = chain.student.width, chain.student.recipe
        assert own is not None
        small = (self._middle - self._size[student]) / (self._half or 1.0)  # -1 .. 1
        found = [0.0] * len(self._students)
        found[self._students[student]] = 1.0
        recipe = self._own.encode(own)
        found += [*recipe, *(small * value for value in recipe)]
        count = len(chain.assistants)
        number = [float(count == n) for n in range(1, self._most + 1)]
        found += [*number, *(small * value for value in number)]
        sizes = [self._size[width] for width in chain.widths]
        whole = sizes[0] - sizes[-1]
        steps = [(a - b) / whole for a, b in itertools.pairwise(sizes)]
        last, first, largest = (steps[-1], steps[0], max(steps)) if count else (0.0, 0.0, 0.0)
        found += [last, last**2, first, first**2, largest, small * last, small * first]
        shared = chain.assistants[0].recipe if count else None
        found += self._shared.encode(shared) if shared else self._shared.none
        return found


class _Options:
    """The searched fields of a role's recipe as numbers."""

    def __init__(self, roles: Sequence[Recipes]) -> None:
        searched: dict[str, list[Any]] = {}
        for role in roles:
            for name, values in role.options.items():
                known = searched.setdefault(name, [])
                known += [value for value in values if value not in known]
        self._searched = {name: values for name, values in searched.items() if len(values) > 1}

    @property
    def none(self) -> list[float]:
        return [0.0] * sum(self._width(values) for values in self._searched.values())

    def encode(self, recipe: Recipe) -> list[float]:
        found: list[float] = []
        for name, values in self._searched.items():
            value = getattr(recipe, name)
            if isinstance(values[0], str):
                found += [float(value == other) for other in values[1:]]
            else:
                logs = [math.log(float(other)) for other in values]
                place = (math.log(float(value)) - min(logs)) / (max(logs) - min(logs))
                found.append(2 * place - 1)
        return found

    @staticmethod
    def _width(values: Sequence[Any]) -> int:
        return len(values) - 1 if isinstance(values[0], str) else 1
