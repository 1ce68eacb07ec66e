"""Rules of the study file about views of samples: what augmentation, mixup and teacher go with."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.chains.recipe import LABELS_ONLY
from tasearch.config.sections import AssistantsSection, StudentSection
from tasearch.config.training_section import TrainingSection
from tasearch.errors import quoted

ONE_LABEL = ("dkd",)  # losses that need a single class as the label


def view_conflicts(
    training: TrainingSection,
    assistants: AssistantsSection,
    student: StudentSection,
    *,
    outputs_alone: bool,
) -> Iterator[tuple[str, str]]:
    """Violations of rules about views: the path and the rule of each.

    Args:
        training: The section `[training]`.
        assistants: The section `[assistants]`.
        student: The section `[student]`.
        outputs_alone: Whether the teacher is given by its outputs alone.
    """
    augment, mixes = training.augment, training.mixup is not None
    if training.teacher == "online":
        yield from _online_conflicts(training, assistants, student, outputs_alone=outputs_alone)
    else:
        yield from _number_conflicts(training)
    losses = {"assistants": assistants.loss, "student": student.loss}
    for role, names in losses.items() if mixes else ():
        for name in set(names) & {*ONE_LABEL}:
            rule = f"{name!r} compares the label's class with the others, and a mix has two labels"
            yield f"{role}.loss", f"{rule}: leave it out, or training.mixup"
    if outputs_alone and augment != "none":
        rule = 'should be "none" with teacher.outputs: of augmented images there are no outputs'
        yield "training.augment", f"{rule}, found {quoted(augment)}"
    if outputs_alone and mixes:
        yield "training.mixup", "should be left out with teacher.outputs: of mixes there are none"


def _number_conflicts(training: TrainingSection) -> Iterator[tuple[str, str]]:
    """Violations of rules about the number of views, where soft targets are stored."""
    augment, mixes = training.augment, training.mixup is not None
    users = ["an augmentation of yours"] * (":" in augment) + ["training.mixup"] * mixes
    if users and training.views is None:
        rule = f"is required with {users[0]}"
        yield "training.views", f'{rule}, unless training.teacher = "online"'
    if not users and training.views is not None:
        rule = "goes with an augmentation of yours, or with training.mixup"
        yield "training.views", f"{rule}, found augment = {quoted(augment)}"


def _online_conflicts(
    training: TrainingSection,
    assistants: AssistantsSection,
    student: StudentSection,
    *,
    outputs_alone: bool,
) -> Iterator[tuple[str, str]]:
    """Violations of rules about an online teacher."""
    if training.views is not None:
        rule = 'should be left out with training.teacher = "online", which draws in each epoch anew'
        yield "training.views", f"{rule}, found {training.views}"
    if outputs_alone:
        rule = 'should be "cached" with teacher.outputs: there is no model to call on batches'
        yield "training.teacher", f'{rule}, found "online"'
    losses = {*student.loss, *(assistants.loss if assistants.max else ())}
    if losses == {LABELS_ONLY}:
        rule = f"should be left out where every loss is {quoted(LABELS_ONLY)}: no model is taught"
        yield "training.teacher", f'{rule}, found "online"'
