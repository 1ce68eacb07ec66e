"""Rules of the study file about views of samples: what augmentation and mixup go with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasearch.config.training_section import TrainingSection
from tasearch.errors import quoted

ONE_LABEL = ("dkd",)  # losses that need a single class as the label


def view_conflicts(
    training: TrainingSection, losses: Mapping[str, Sequence[str]], *, outputs_alone: bool
) -> Iterator[tuple[str, str]]:
    """Violations of rules about views: the path and the rule of each.

    Args:
        training: The section `[training]`.
        losses: The losses of each section that has some.
        outputs_alone: Whether the teacher is given by its outputs alone.
    """
    augment, mixes = training.augment, training.mixup is not None
    users = ["an augmentation of yours"] * (":" in augment) + ["training.mixup"] * mixes
    if users and training.views is None:
        yield "training.views", f"is required with {users[0]}"
    if not users and training.views is not None:
        rule = "goes with an augmentation of yours, or with training.mixup"
        yield "training.views", f"{rule}, found augment = {quoted(augment)}"
    for role, names in losses.items() if mixes else ():
        for name in set(names) & {*ONE_LABEL}:
            rule = f"{name!r} compares the label's class with the others, and a mix has two labels"
            yield f"{role}.loss", f"{rule}: leave it out, or training.mixup"
    if outputs_alone and augment != "none":
        rule = 'should be "none" with teacher.outputs: of augmented images there are no outputs'
        yield "training.augment", f"{rule}, found {quoted(augment)}"
    if outputs_alone and mixes:
        yield "training.mixup", "should be left out with teacher.outputs: of mixes there are none"
