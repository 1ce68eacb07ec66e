"""The recipes that a study may try."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tasearch.chains.recipe import NO_HIDDEN, Recipe

Choice = int | float | str
Choices = dict[str, Choice]

SEARCHED = (
    *("loss", "temperature", "alpha", "guidance"),
    *("learning_rate", "teacher_epoch", "start", "hidden", "hidden_weight"),
)
# without a teacher they have no influence
ONLY_DISTILLED = (
    *("temperature", "alpha", "guidance", "teacher_epoch", "start"),
    *("hidden", "hidden_weight"),
)


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """The recipes that a study may try for its assistants, or for its student.

    Args:
        base: A recipe with the values that are the same in all.
        options: The values that may be tried for each field in `SEARCHED`.
    """

    base: Recipe
    options: Mapping[str, tuple[Choice, ...]]

    @property
    def searched(self) -> tuple[str, ...]:
        """The fields with more than one value to try."""
        return tuple(name for name in SEARCHED if len(self.options[name]) > 1)

    def pick(self, choices: Mapping[str, Choice], prefix: str) -> Recipe:
        """The canonical recipe that some choices stand for.

        Args:
            choices: The values of a trial's parameters, by name.
            prefix: What the names of this role's parameters begin with.
        """
        values = {
            name: choices[prefix + name] if name in self.searched else self.options[name][0]
            for name in SEARCHED
        }
        return self.canonical(replace(self.base, **values))  # type: ignore[arg-type]

    def choices(self, recipe: Recipe, prefix: str) -> Choices:
        """The parameters of a trial that stand for a recipe; `pick` is the inverse."""
        return {prefix + name: getattr(recipe, name) for name in self.searched}

    def one_per_loss(self) -> list[Recipe]:
        """One recipe for each loss, with the first option of each other field.

        Recipes that need a teacher come first.
        """
        rest = tuple(self.options[name][0] for name in SEARCHED[1:])
        found = [self.canonical(self._at((loss, *rest))) for loss in self.options["loss"]]
        return sorted(found, key=lambda recipe: not recipe.distilled)

    def distinct(self, *, one_teacher: bool) -> list[Recipe]:
        """Each canonical recipe once, in the order of the options.

        Args:
            one_teacher: Whether the models have at most one ancestor: then `guidance` has no
                influence.
        """
        grid = itertools.product(*(self.options[name] for name in SEARCHED))
        found = (self.canonical(self._at(values)) for values in grid)
        return list(dict.fromkeys(self.one_teacher(r) if one_teacher else r for r in found))

    def one_teacher(self, recipe: Recipe) -> Recipe:
        """The canonical recipe of a model with at most one ancestor."""
        return replace(recipe, guidance=str(self.options["guidance"][0]))

    def _at(self, values: tuple[Choice, ...]) -> Recipe:
        return replace(self.base, **dict(zip(SEARCHED, values, strict=True)))  # type: ignore[arg-type]

    def canonical(self, recipe: Recipe) -> Recipe:
        """The recipe, with the first option for each field that has no influence on it."""
        unused: tuple[str, ...] = ONLY_DISTILLED
        if recipe.distilled:
            unused = ("hidden_weight",) if recipe.hidden == NO_HIDDEN else ()
        return replace(recipe, **{name: self.options[name][0] for name in unused})  # type: ignore[arg-type]
