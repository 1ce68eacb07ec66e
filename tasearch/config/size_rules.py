"""The rules of a study about sizes with names, and about families of fixed networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasearch.chains.sizes import Size
from tasearch.config.sections import AssistantsSection, ModelSection, StudentSection
from tasearch.config.sizes import ladder
from tasearch.config.teacher_section import TeacherSection
from tasearch.config.values import LADDERS, SCALABLE
from tasearch.errors import quoted


def _listed(widths: Iterable[int]) -> str:
    """Widths for a message, such as `6, 4, 2`."""
    return ", ".join(map(str, widths))


def size_conflicts(
    model: ModelSection,
    teacher: TeacherSection,
    assistants: AssistantsSection,
    student: StudentSection,
) -> Iterator[tuple[str, str]]:
    """Widths that a family of fixed networks does not have, or without a name where sizes have
    names; a teacher that is called like a size; and a multiplier of another family's channels.
    """
    if model.multiplier != 1 and model.family != SCALABLE:
        rule = f'goes with family = "{SCALABLE}", found {quoted(model.family)}'
        yield "model.multiplier", rule
    yield from _ladder_conflicts(model, teacher, assistants, student)
    if not model.sizes:
        if model.package is not None:
            rule = "is required with a model of a package, which has no width, as family"
            yield "model.sizes", f"{rule}, found {quoted(model.family)}"
        return
    known, brought = ladder(model.sizes), teacher.brought
    named = {"assistants.widths": assistants.widths, "student.widths": student.widths}
    if not brought:
        named["teacher.width"] = (teacher.width,)
    for path, widths in named.items():
        numbers = [width for width in widths if not isinstance(width, Size)]
        if numbers:
            rule = f"should be among model.sizes, {_listed(known.values())}"
            yield path, f"{rule}, found {_listed(numbers)}"
    if brought and isinstance(teacher.width, Size):
        rule = "should be a number for a teacher that is not of the family"
        yield "teacher.width", f"{rule}, found {quoted(teacher.width.name)}"
    if teacher.label in known:
        rule = "no size should have the name of the teacher, which teacher.name changes"
        yield "model.sizes", f"{rule}, found {quoted(teacher.label)}"


def _ladder_conflicts(
    model: ModelSection,
    teacher: TeacherSection,
    assistants: AssistantsSection,
    student: StudentSection,
) -> Iterator[tuple[str, str]]:
    """Widths that a family of fixed networks does not have."""
    legal = LADDERS.get(model.family)
    if legal is None or model.sizes:  # the family's function checks the arguments of a size
        return
    named: dict[str, tuple[int, ...]] = {}
    if not teacher.brought:
        named["teacher.width"] = (teacher.width,)
    if assistants.max:
        named["assistants.widths"] = assistants.widths
    named["student.widths"] = student.widths
    for path, widths in named.items():
        wrong = [width for width in widths if width not in legal]
        if wrong:
            rule = f"of family {quoted(model.family)} should be among {_listed(legal)}"
            yield path, f"{rule}, found {_listed(wrong)}"
