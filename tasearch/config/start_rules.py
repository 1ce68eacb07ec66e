"""The rules of a study about models that start from the weights of their teacher."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.chains.recipe import FROM_TEACHER, RANDOM
from tasearch.config.sections import AssistantsSection, ModelSection, StudentSection
from tasearch.config.teacher_section import TeacherSection
from tasearch.config.values import INHERITING
from tasearch.errors import quoted


def start_conflicts(
    model: ModelSection,
    teacher: TeacherSection,
    assistants: AssistantsSection,
    student: StudentSection,
) -> Iterator[tuple[str, str]]:
    """Starts from a teacher with a family that has none, or a teacher of another family."""
    roles = {"student": student.inherits, "assistants": assistants.inherits and assistants.max}
    for role in (role for role, inherits in roles.items() if inherits):
        encoders = model.package == "hf"
        if model.family not in INHERITING and not encoders:
            known = " or ".join(f'"{family}"' for family in (*INHERITING, "hf:FOLDER"))
            rule = f'"{FROM_TEACHER}" goes with family = {known}, found {quoted(model.family)}'
            yield f"{role}.start", rule
        elif teacher.brought and not (encoders and teacher.package == "hf"):
            rule = f'should be "{RANDOM}" with a teacher that is not of the family: its weights'
            yield f"{role}.start", f'{rule} fit no model of it, found "{FROM_TEACHER}"'
