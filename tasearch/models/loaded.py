"""The teacher: what is known of a loaded one, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from tasearch.chains.sizes import Size, sized
from tasearch.config.study import Study
from tasearch.config.teacher_section import TeacherSection
from tasearch.errors import ModelError
from tasearch.models.inputs import InputSpec


@dataclass(frozen=True, kw_only=True)
class LoadedTeacher:
    """A teacher that is taken as it is.

    Args:
        net: The model, frozen and in eval mode, which takes standardized samples.
        digest: Digest of its weights.
        spec: The samples that it expects, made of raw or standardized ones.
        words: What was done to load it, for the user.
    """

    net: nn.Module
    digest: str
    spec: InputSpec
    words: tuple[str, ...] = ()


def describe_teacher(study: Study, params: int, loaded: LoadedTeacher | None, *, grey: bool) -> str:
    """What is done about the teacher, in one line.

    Args:
        study: The study.
        params: Number of its parameters.
        loaded: The teacher; None if it is trained here.
        grey: Whether samples are images of one channel.
    """
    section, family = study.teacher, study.model.family
    name = section.label or f"{family.rpartition(':')[2]} {section.width}"
    if section.outputs is not None:
        own = f" {section.name}," if section.name else ""
        return f"teacher{own} of unknown size: its {section.outputs} are in the data"
    words = f"teacher {name}, {_in_words(params)}: "
    notes = ["grey images as three equal channels"] if section.package and grey else []
    if loaded is not None and section.members:
        return f"{words}the mean logits of {'; and '.join(loaded.words)}"
    if loaded is not None:
        return words + describe_loaded(section, loaded, notes)
    epochs = f"{section.epochs} epoch{'s' * (section.epochs > 1)}"
    samples = "standardized samples" if study.data.standardized else "samples as they are"
    return "; ".join([f"{words}trained here, {epochs}, {samples}", *notes])


def describe_loaded(
    section: TeacherSection, loaded: LoadedTeacher, notes: Sequence[str] = ()
) -> str:
    """What was done to load a model, and what it takes, in words.

    Args:
        section: The keys of the model.
        loaded: The model.
        notes: What else is known of it.
    """
    words = f"loaded, frozen, {section.inputs} samples{loaded.spec.words}"
    return "; ".join([words, *notes, *loaded.words])


def check_falling(study: Study, sizes: Mapping[int, int]) -> None:
    """Refuse a width whose parameters are no fewer than those of the next wider one.

    Args:
        study: The study.
        sizes: The number of parameters of both by width, the wider one first.

    Raises:
        ModelError: The narrower one has as many parameters, or more.
    """
    (wider, most), (width, least) = sizes.items()
    named = isinstance(width, Size)  # of as many parameters may be one of smaller images
    if least < most or (named and least == most):
        return
    if wider == study.teacher.width and study.teacher.factory is not None:
        raise ModelError(
            f"teacher.factory: {study.teacher.factory!r}: the teacher should have "
            f"more parameters than any other model, found {most:,} and "
            f"{least:,} at {sized(width)}"
        )
    falling = "from size to size" if named else "with the width"
    raise ModelError(
        f"model.family: {study.model.family!r}: parameters should fall {falling}, found {most:,} "
        f"at {sized(wider)} and {least:,} at {width}"
    )


def size(net: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def _in_words(count: int) -> str:
    """A number of parameters in three digits."""
    for scale, unit in ((1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * scale:
            return f"{count / scale:.3g}{unit} parameters"
    return f"{count} parameter{'s' * (count != 1)}"
