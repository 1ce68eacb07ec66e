"""A study: all sections together, and the rules that involve several of their keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tasearch.chains.mode import Mode
from tasearch.chains.recipe import LABELS_ONLY, Recipe
from tasearch.chains.recipes import SEARCHED, Recipes
from tasearch.chains.sizes import sized
from tasearch.config.data_section import DataSection
from tasearch.config.hidden_rules import hidden_conflicts
from tasearch.config.latency_section import LatencySection
from tasearch.config.later_keys import LATER_KEYS
from tasearch.config.search_section import SearchSection
from tasearch.config.section_base import Section, key
from tasearch.config.sections import (
    AssistantsSection,
    BudgetSection,
    ConfirmSection,
    Distilled,
    ExpectsSection,
    ModelSection,
    ObjectiveSection,
    ResourcesSection,
    StudentSection,
)
from tasearch.config.size_rules import size_conflicts
from tasearch.config.sizes import with_sizes
from tasearch.config.start_rules import start_conflicts
from tasearch.config.teacher_section import OWN, TeacherSection
from tasearch.config.training_section import TrainingSection
from tasearch.config.values import (
    AUGMENTATIONS,
    FAMILIES,
    LONGEST_NAME,
    LOSSES,
    SAMPLERS,
    SOURCES,
    PathText,
    Seed,
    fit_for_a_folder,
)
from tasearch.config.view_rules import view_conflicts
from tasearch.errors import nearest, quoted, short
from tasearch.pareto.budget import Budget

MOST_RECIPES = 10_000  # that the lists of [assistants] or [student] may make


class Study(Section):
    """A study: everything that decides what is tried and how it is trained."""

    name: Annotated[
        str,
        Field(max_length=LONGEST_NAME),
        AfterValidator(fit_for_a_folder),
    ] = key("study", "name of the run: its folder is runs/<name>")
    seed: Seed = key(0, "seed of initial weights, batch orders and proposals")
    root: PathText = key(
        ".", "folder in which paths and your modules are looked for, relative to this file"
    )
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    teacher: TeacherSection = TeacherSection()
    assistants: AssistantsSection = AssistantsSection()
    student: StudentSection = StudentSection()
    training: TrainingSection = TrainingSection()
    objective: ObjectiveSection = ObjectiveSection()
    budget: BudgetSection = BudgetSection()
    latency: LatencySection = LatencySection()
    search: SearchSection = SearchSection()
    confirm: ConfirmSection = ConfirmSection()
    resources: ResourcesSection = ResourcesSection()
    expects: ExpectsSection = ExpectsSection()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        return with_sizes(content)

    def conflicts(self) -> list[tuple[str, str]]:
        """Violations of rules that involve several keys: the path and the rule of each."""
        return [
            *self._unknown_names(),
            *size_conflicts(*(models := (self.model, self.teacher, self.assistants, self.student))),
            *start_conflicts(*models),
            *hidden_conflicts(*models),
            *self._width_conflicts(),
            *self._assistant_conflicts(),
            *self._recipe_conflicts(),
            *self.teacher.conflicts(),
            *self._view_conflicts(),
            *self.data.conflicts(),
            *self._input_conflicts(),
        ]

    def _unknown_names(self) -> Iterator[tuple[str, str]]:
        """Names of functions that are neither built in nor `"package.module:function"`."""
        for path, names, known in (
            ("data.source", [self.data.source], SOURCES),
            ("model.family", [self.model.family], FAMILIES),
            ("assistants.loss", self.assistants.loss, LOSSES),
            ("student.loss", self.student.loss, LOSSES),
            ("search.sampler", [self.search.sampler], SAMPLERS),
            ("training.augment", [self.training.augment], AUGMENTATIONS),
        ):
            for name in names:
                if ":" not in name and name not in known:
                    yield path, f"unknown name {quoted(name)}{nearest(name, known)}"
        for path, name in self.own_functions:
            module, _, function = name.partition(":")
            if not all(part.isidentifier() for part in (*module.split("."), function)):
                yield path, f"{OWN}, found {quoted(name)}"

    def _width_conflicts(self) -> Iterator[tuple[str, str]]:
        for section, widths in (
            ("assistants", self.assistants.widths),
            ("student", self.student.widths),
        ):
            unused = section == "assistants" and not self.assistants.max
            if not unused and widths and widths[0] >= self.teacher.width:
                rule = f"should be below the teacher's {sized(self.teacher.width)}"
                yield f"{section}.widths[0]", f"{rule}, found {widths[0]}"
        for width in self.training.modes:
            if width not in map(str, self.widths):
                yield f"training.modes.{short(width)}", "is no width of this study"

    def _assistant_conflicts(self) -> Iterator[tuple[str, str]]:
        low, high, number = self.assistants.min, self.assistants.max, len(self.assistants.widths)
        narrowest = self.student.widths[-1]
        wider = sum(width > narrowest for width in self.assistants.widths)
        if low > high:
            yield "assistants.min", f"should not exceed assistants.max {high}, found {low}"
        if low > number:
            rule = f"should not exceed the number of assistants.widths {number}"
            yield "assistants.min", f"{rule}, found {low}"
        elif low > wider:
            rule = f"no student has {low} assistants wider than itself"
            yield "assistants.min", f"{rule}, the narrowest, {narrowest}, has {wider}"
        for section, losses, limit in (
            ("assistants", self.assistants.loss, 1),
            ("student", self.student.loss, 0),
        ):
            if low > limit and LABELS_ONLY in losses:
                rule = (
                    f"{LABELS_ONLY!r} learns from no assistant, so assistants.min cannot be {low}"
                )
                yield f"{section}.loss", rule

    def _recipe_conflicts(self) -> Iterator[tuple[str, str]]:
        for section in ("assistants", "student"):
            number = math.prod(len(getattr(getattr(self, section), name)) for name in SEARCHED)
            if number > MOST_RECIPES:
                rule = f"its lists should make at most {MOST_RECIPES:,} recipes"
                yield section, f"{rule}, make {number:,}"
        for role, early in self.early_teachers.items() if self.teacher.loaded else ():
            rule = (
                "should be 1.0 with a loaded teacher, of which there are no earlier epochs: "
                "leave the key out, or have the teacher trained here"
            )
            yield f"{role}.teacher_epoch", f"{rule}, found {quoted(early[0])}"

    def _input_conflicts(self) -> Iterator[tuple[str, str]]:
        if self.teacher.inputs == "standardized" and not self.data.standardized:
            yield "teacher.inputs", 'should be "raw" with data.standardize = false'

    def _view_conflicts(self) -> Iterator[tuple[str, str]]:
        alone = self.teacher.outputs is not None
        return view_conflicts(self.training, self.assistants, self.student, outputs_alone=alone)

    @property
    def widths(self) -> tuple[int, ...]:
        """Every width of the study, strictly decreasing, the teacher's first."""
        rest = {*self.student.widths}
        if self.assistants.max:
            rest |= {*self.assistants.widths}
        return (self.teacher.width, *sorted(rest, reverse=True))

    @property
    def pinned_modes(self) -> dict[int, Mode]:
        """The modes that `training.modes` gives, by width."""
        named = {str(width): width for width in self.widths}
        return {named[name]: Mode.parse(mode) for name, mode in self.training.modes.items()}

    @property
    def early_teachers(self) -> dict[str, tuple[float | str, ...]]:
        """The values that need an earlier epoch of a teacher, for each section that has some."""
        sections: dict[str, Distilled] = {"student": self.student}
        if self.assistants.max:
            sections["assistants"] = self.assistants
        return {name: section.early for name, section in sections.items() if section.early}

    @property
    def own_functions(self) -> tuple[tuple[str, str], ...]:
        """The key and the name, `"package.module:function"`, of each function of the user's."""
        names = {
            "search.sampler": [self.search.sampler],
            "objective.metric": [self.objective.metric],
            "assistants.loss": self.assistants.loss,
            "student.loss": self.student.loss,
            "model.family": [self.model.own_family],
            **self.teacher.named_factories,
            "data.source": [self.data.own_source or ""],
            "training.augment": [self.training.augment],
        }
        return tuple((path, name) for path, all_ in names.items() for name in all_ if ":" in name)

    def limits(self) -> Budget:
        """The limits of the section `[budget]`."""
        return Budget(**self.budget.model_dump())

    def recipes(self, role: Literal["assistants", "student"]) -> Recipes:
        """The recipes that the study may try.

        Args:
            role: Which models the recipes are for.
        """
        section: Distilled = getattr(self, role)
        options = {name: getattr(section, name) for name in SEARCHED}
        first = {name: values[0] for name, values in options.items()}
        own = {"epochs": section.epochs, "teacher_dropout": section.teacher_dropout}
        return Recipes(base=self._recipe(**own, **first), options=options)

    def teacher_recipe(self) -> Recipe | None:
        """The teacher's recipe; None if the teacher is loaded."""
        if self.teacher.loaded:
            return None
        return self._recipe(
            loss=LABELS_ONLY,
            temperature=1.0,
            alpha=0.0,
            guidance="serial",
            teacher_dropout=0.0,
            epochs=self.teacher.epochs,
            learning_rate=self.teacher.learning_rate,
        )

    def _recipe(self, **own: Any) -> Recipe:
        shared = self.training
        return Recipe(
            batch_size=shared.batch_size,
            optimizer=shared.optimizer,
            momentum=shared.momentum,
            schedule=shared.schedule,
            warmup=shared.warmup,
            weight_decay=shared.weight_decay,
            clip=shared.clip,
            ema=shared.ema,
            **own,
        )

    def identity(self) -> dict[str, Any]:
        """Every value that makes it another study if it changes, by path.

        Left out are the limits of the search, the root, what follows the search, where it is
        trained, and limits of time and of disk space.
        """
        limits = {"trials", "max_hours", "max_flops", "min_improvement"}
        left_out = dict.fromkeys(("root", "confirm", "resources", "expects"), True)
        values = self.model_dump(mode="json", exclude={**left_out, "search": limits})
        values["training"] = self.training.deciding()
        flat: dict[str, Any] = {}
        for section, value in values.items():
            if isinstance(value, dict):
                flat |= {f"{section}.{name}": inner for name, inner in value.items()}
            else:
                flat[section] = value
        del flat["data.unreadable"]  # the digest of the data tells what is left
        del flat["teacher.name"], flat["data.export_layout"]  # they decide nothing
        for name, default in LATER_KEYS.items():
            if flat[name] == default:
                del flat[name]
        return flat
