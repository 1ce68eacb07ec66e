"""The rules of a study about models that learn from hidden layers of the model before."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.chains.recipe import NO_HIDDEN
from tasearch.config.sections import AssistantsSection, ModelSection, StudentSection
from tasearch.config.teacher_section import TeacherSection
from tasearch.config.values import INHERITING
from tasearch.errors import quoted


def hidden_conflicts(
    model: ModelSection,
    teacher: TeacherSection,
    assistants: AssistantsSection,
    student: StudentSection,
) -> Iterator[tuple[str, str]]:
    """Hidden layers with a family, or a teacher, whose layers are not known."""
    roles = {"student": student, "assistants": assistants}
    if not assistants.max:
        del roles["assistants"]
    for role in (role for role, section in roles.items() if section.reads_hidden):
        path, only = f"{role}.hidden", f'should be "{NO_HIDDEN}"'
        if model.family not in INHERITING and model.package != "hf":
            known = " or ".join(f'"{family}"' for family in (*INHERITING, "hf:FOLDER"))
            rule = f"{only} unless model.family is {known}, whose hidden layers are known"
            yield path, f"{rule}; found family {quoted(model.family)}"
        elif teacher.outputs is not None:
            yield path, f"{only} with teacher.outputs: there is no model whose layers could be read"
        elif teacher.members:
            yield path, f"{only} with teacher.members: several models have no layers in common"
        elif teacher.brought and teacher.package != "hf":
            rule = f'{only} with a teacher that is neither of the family nor "hf:FOLDER"'
            yield path, f"{rule}, found factory {quoted(teacher.factory)}"
