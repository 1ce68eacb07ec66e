"""The space of chains that a study searches, and its parameters for Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tasearch.chains.chain import Chain
from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipe import Recipe
from tasearch.chains.recipes import Choice, Choices, Recipes


@dataclass(frozen=True, kw_only=True)
class Space:
    """A finite set of chains.

    Args:
        teacher: The first model of every chain.
        assistant_widths: The widths that assistants may have, strictly decreasing.
        student_widths: The widths that students may have (those within the budget), strictly
            decreasing.
        min_assistants: Fewest assistants in a chain.
        max_assistants: Most assistants in a chain.
        assistant_recipes: The recipes of assistants; all assistants of a chain have the same one.
        student_recipes: The recipes of the student.
    """

    teacher: ModelSpec
    assistant_widths: tuple[int, ...]
    student_widths: tuple[int, ...]
    min_assistants: int
    max_assistants: int
    assistant_recipes: Recipes
    student_recipes: Recipes

    @cached_property
    def domains(self) -> dict[str, tuple[Choice, ...]]:
        """Each parameter with its values; Optuna's distributions are made from this."""
        numbers = tuple(range(self.min_assistants, self.max_assistants + 1))
        domains: dict[str, tuple[Choice, ...]] = {"assistants": numbers}
        for place in range(1, self.max_assistants + 1):
            domains[f"assistant_{place}"] = (0, *self.assistant_widths)
        domains["student"] = self.student_widths
        for prefix, recipes in (
            ("assistant_", self.assistant_recipes),
            ("student_", self.student_recipes),
        ):
            if prefix == "student_" or self.max_assistants:
                domains |= {prefix + name: recipes.options[name] for name in recipes.searched}
        return domains

    def chain(self, choices: Mapping[str, Choice]) -> Chain | None:
        """The chain that some choices stand for.

        Of the parameters `assistant_1`, `assistant_2`, ... the first `assistants` ones count. Left
        out are empty and repeated widths, widths that are not above the student's, and assistants
        that have no influence on the student.

        Args:
            choices: A value of its domain for each parameter.

        Returns:
            The chain; None if fewer than `min_assistants` assistants are left.
        """
        student = ModelSpec(
            width=self._named(choices["student"]),
            recipe=self.student_recipes.pick(choices, "student_"),
        )
        places = range(1, int(choices["assistants"]) + 1)
        chosen = {self._named(choices[f"assistant_{place}"]) for place in places}
        widths = sorted(chosen, reverse=True)
        widths = [width for width in widths if width > student.width]
        assistants: tuple[ModelSpec, ...] = ()
        if widths:
            recipe = self.assistant_recipes.pick(choices, "assistant_")
            assistants = tuple(ModelSpec(width=width, recipe=recipe) for width in widths)
        assistants = _needed(assistants, student)
        if len(assistants) < self.min_assistants:
            return None
        return self._canonical(assistants, student)

    def _named(self, choice: Choice) -> int:
        """A width of this space, with its name, for a choice that Optuna may have stored."""
        return self._widths.get(int(choice), int(choice))

    @cached_property
    def _widths(self) -> dict[int, int]:
        return {width: width for width in (*self.assistant_widths, *self.student_widths)}

    def canonical(self, chain: Chain) -> Chain:
        """The chain of this space that trains the same student.

        A chain may end in a model that was trained as an assistant. Its recipe is replaced by the
        student's recipe that gives the same weights, if there is one.
        """
        own = chain.student.recipe
        assert own is not None
        recipe = self.student_recipes.canonical(
            replace(own, teacher_dropout=self.student_recipes.base.teacher_dropout)
        )
        found = self._canonical(chain.assistants, replace(chain.student, recipe=recipe))
        if found.hop().canonical_lineage == chain.hop().canonical_lineage:
            return found
        return self._canonical(chain.assistants, chain.student)

    def _canonical(self, assistants: tuple[ModelSpec, ...], student: ModelSpec) -> Chain:
        if len(assistants) == 1:
            assistants = (_with_one_teacher(assistants[0], self.assistant_recipes),)
        if not assistants or not assistants[-1].distilled:
            student = _with_one_teacher(student, self.student_recipes)
        return Chain(models=(self.teacher, *assistants, student))

    def choices(self, chain: Chain) -> Choices:
        """The canonical parameters of a chain."""
        count = len(chain.assistants)
        choices: Choices = {"assistants": count}
        for place in range(1, self.max_assistants + 1):
            choices[f"assistant_{place}"] = (
                chain.assistants[place - 1].width if place <= count else 0
            )
        choices["student"] = chain.student.width
        if self.max_assistants:
            recipe = chain.assistants[0].recipe if count else self._first_assistant_recipe
            assert recipe is not None
            choices |= self.assistant_recipes.choices(recipe, "assistant_")
        assert chain.student.recipe is not None
        return choices | self.student_recipes.choices(chain.student.recipe, "student_")

    def member(self, chain: Chain) -> Choices | None:
        """The canonical parameters of the chain of this space that trains the same student.

        In the space of another study, options without influence on the chain may have had other
        values.

        Returns:
            The parameters; None if the space has no such chain.
        """
        if not self.min_assistants <= len(chain.assistants) <= self.max_assistants:
            return None
        chain = self.canonical(chain)
        choices = self.choices(chain)
        if any(value not in self.domains[name] for name, value in choices.items()):
            return None
        return choices if self.chain(choices) == chain else None

    def baselines(self) -> list[Chain]:
        """The chains without assistants that a search tries first, each once.

        For every student, the narrowest first, direct distillation with the first recipe of each
        loss, and training on the labels alone if the study tries it.
        """
        if self.min_assistants:
            return []
        return [
            Chain(models=(self.teacher, ModelSpec(width=width, recipe=recipe)))
            for width in reversed(self.student_widths)
            for recipe in self.student_recipes.one_per_loss()
        ]

    def direct(self, chain: Chain) -> Chain | None:
        """The chain that trains the student of another one without assistants, by the same recipe.

        Returns:
            The chain; None if every chain of the space has assistants.
        """
        return None if self.min_assistants else self._canonical((), chain.student)

    def __iter__(self) -> Iterator[Chain]:
        """Every chain of the space, once."""
        for width in self.student_widths:
            wider = [w for w in self.assistant_widths if w > width]
            for own in self.student_recipes.distinct(one_teacher=False):
                student = ModelSpec(width=width, recipe=own)
                for count in range(self.min_assistants, self.max_assistants + 1):
                    for chosen in itertools.combinations(wider, count):
                        yield from self._over_recipes(chosen, student)

    def _over_recipes(self, widths: tuple[int, ...], student: ModelSpec) -> Iterator[Chain]:
        shared = self._assistant_recipes[len(widths) < 2]
        for recipe in shared if widths else shared[:1]:
            assistants = tuple(ModelSpec(width=width, recipe=recipe) for width in widths)
            chain = Chain(models=(self.teacher, *assistants, student))
            needed = _needed(assistants, student) == assistants
            if needed and self._canonical(assistants, student) == chain:
                yield chain

    @cached_property
    def _assistant_recipes(self) -> dict[bool, list[Recipe]]:
        """The distinct recipes of assistants; under True those of a chain's only assistant."""
        return {one: self.assistant_recipes.distinct(one_teacher=one) for one in (False, True)}

    @cached_property
    def size(self) -> int:
        """Number of chains, computed without listing them."""
        # Assistants before a model that learns without a teacher have no influence on the student,
        # so an assistant without a teacher is the only one, and such a student has none.
        first, many = (
            [r.distilled for r in self.assistant_recipes.distinct(one_teacher=one)]
            for one in (True, False)
        )
        direct, distilled = (
            [r.distilled for r in self.student_recipes.distinct(one_teacher=one)]
            for one in (True, False)
        )
        alone = (len(first) - sum(first)) * sum(
            direct
        )  # the assistant learns from the labels alone
        recipes = [len(direct), sum(first) * sum(distilled) + alone, sum(many) * sum(distilled)]
        return sum(
            math.comb(sum(w > width for w in self.assistant_widths), count) * recipes[min(count, 2)]
            for width in self.student_widths
            for count in range(self.min_assistants, self.max_assistants + 1)
        )

    @cached_property
    def _first_assistant_recipe(self) -> Recipe:
        return self.assistant_recipes.distinct(one_teacher=True)[0]


def _with_one_teacher(model: ModelSpec, recipes: Recipes) -> ModelSpec:
    assert model.recipe is not None
    return replace(model, recipe=recipes.one_teacher(model.recipe))


def _needed(assistants: tuple[ModelSpec, ...], student: ModelSpec) -> tuple[ModelSpec, ...]:
    """The assistants that have an influence on the student's weights."""
    if not student.distilled:
        return ()
    return assistants if all(a.distilled for a in assistants) else assistants[-1:]
