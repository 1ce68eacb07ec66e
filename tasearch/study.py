"""A study: its sections together, and the rules that span several of their keys."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from tasearch.chain import LABELS_ONLY, Recipe
from tasearch.front import Budget
from tasearch.sections import (
    FILES,
    SCALABLE,
    AssistantsSection,
    BudgetSection,
    DataSection,
    Distilled,
    LatencySection,
    ModelSection,
    SearchSection,
    Section,
    StudentSection,
    TeacherSection,
    TrainingSection,
    key,
)
from tasearch.space import SEARCHED, Recipes


class Study(Section):
    """A study: everything that decides what is tried and how it is trained."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = key(
        "study", "the run lands in runs/<name>"
    )
    seed: Annotated[int, Field(ge=0)] = key(0, "of initial weights, order of batches and proposals")
    root: str = key(".", "where paths and your modules are looked for, seen from this file")
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    teacher: TeacherSection = TeacherSection()
    assistants: AssistantsSection = AssistantsSection()
    student: StudentSection = StudentSection()
    training: TrainingSection = TrainingSection()
    budget: BudgetSection = BudgetSection()
    latency: LatencySection = LatencySection()
    search: SearchSection = SearchSection()

    def conflicts(self) -> list[tuple[str, str]]:
        """Breaches of rules that span several keys: path and rule of each."""
        found = []
        for section, widths in (
            ("assistants", self.assistants.widths),
            ("student", self.student.widths),
        ):
            unused = section == "assistants" and not self.assistants.max
            if not unused and widths and widths[0] >= self.teacher.width:
                rule = f"should be below the teacher's width {self.teacher.width}"
                found.append((f"{section}.widths[0]", f"{rule}, found {widths[0]}"))
        low, high, rungs = self.assistants.min, self.assistants.max, len(self.assistants.widths)
        if low > high:
            found.append(
                ("assistants.min", f"should not exceed assistants.max {high}, found {low}")
            )
        if low > rungs:
            rule = f"should not exceed the number of assistants.widths {rungs}"
            found.append(("assistants.min", f"{rule}, found {low}"))
        for section, losses, limit in (
            ("assistants", self.assistants.loss, 1),
            ("student", self.student.loss, 0),
        ):
            if low > limit and LABELS_ONLY in losses:
                rule = (
                    f"{LABELS_ONLY!r} learns from no assistant, so assistants.min cannot be {low}"
                )
                found.append((f"{section}.loss", rule))
        for width in self.training.modes:
            if width not in map(str, self.widths):
                found.append((f"training.modes.{width}", "is no width of this study"))
        if self.model.multiplier != 1 and self.model.family != SCALABLE:
            rule = f'goes with family = "{SCALABLE}", found {self.model.family!r}'
            found.append(("model.multiplier", rule))
        teacher = self.teacher
        if teacher.loaded and teacher.factory is None and teacher.checkpoint is None:
            rule = "should be at least 1 without teacher.factory or teacher.checkpoint, found 0"
            found.append(("teacher.epochs", rule))
        source, path = self.data.source, self.data.path
        if source in FILES and path is None:
            found.append(("data.path", f"is required with source = {json.dumps(source)}"))
        if source not in FILES and path is not None:
            rule = f'goes with source = "npz" or "parquet", found {json.dumps(source)}'
            found.append(("data.path", rule))
        for name in ("image", "label"):
            if source != "parquet" and getattr(self.data, name) != DataSection().model_dump()[name]:
                rule = f'goes with source = "parquet", found {json.dumps(source)}'
                found.append((f"data.{name}", rule))
        return found

    @property
    def widths(self) -> tuple[int, ...]:
        """The ladder: every width of the study, strictly decreasing, the teacher's first."""
        rest = {*self.student.widths}
        if self.assistants.max:
            rest |= {*self.assistants.widths}
        return (self.teacher.width, *sorted(rest, reverse=True))

    def limits(self) -> Budget:
        return Budget(**self.budget.model_dump())

    def recipes(self, role: Literal["assistants", "student"]) -> Recipes:
        section: Distilled = getattr(self, role)
        options = {name: getattr(section, name) for name in SEARCHED}
        first = {name: values[0] for name, values in options.items()}
        own = {"epochs": section.epochs, "drop": section.drop}
        return Recipes(base=self._recipe(**own, **first), options=options)

    def teacher_recipe(self) -> Recipe | None:
        """None where the teacher is loaded."""
        if self.teacher.loaded:
            return None
        return self._recipe(
            loss=LABELS_ONLY,
            temperature=1.0,
            alpha=0.0,
            edges="serial",
            drop=0.0,
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
        """What makes two study files the same study: all but its length, place and room."""
        length = {"trials", "max_hours", "max_cost", "patience"}
        unlike: Any = {"root": True, "search": length, "training": {"targets_gb"}}
        values = self.model_dump(mode="json", exclude=unlike)
        flat: dict[str, Any] = {}
        for section, value in values.items():
            if isinstance(value, dict):
                flat |= {f"{section}.{name}": inner for name, inner in value.items()}
            else:
                flat[section] = value
        return flat
