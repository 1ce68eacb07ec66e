"""A teacher of several models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tasearch.config.teacher_section import TeacherSection
from tasearch.errors import ModelError
from tasearch.models.inputs import InputSpec
from tasearch.models.loaded import LoadedTeacher, describe_loaded


class Ensemble(nn.Module):
    """The mean logits of several models.

    At every temperature the softmax of mean logits is the normalized geometric mean of the models'
    softened distributions, one of the two means that Hinton et al. (arXiv 1503.02531, section 1)
    take as soft targets of an ensemble. The arithmetic mean has no logits that are right at every
    temperature, and the temperature is not known here: it belongs to the recipe of a student.

    Args:
        nets: The models, which take the same samples.
    """

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 (samples, *in_shape) to logits (samples, num_classes)."""
        return mean_logits([cast(Tensor, net(x)) for net in self.nets])


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """The mean of the logits of several models.

    Args:
        logits: Float (samples, classes) of each model.
    """
    return torch.stack([*logits]).mean(dim=0)


Member = tuple[str, TeacherSection, Callable[[], LoadedTeacher]]


def loaded_ensemble(members: Sequence[Member]) -> LoadedTeacher:
    """The teacher of some members.

    Args:
        members: Of each, where its keys are in the study file, its keys, and what loads it.

    Raises:
        ModelError: A member cannot be loaded; the message says which.
    """
    found, words = [], []
    for path, section, load in members:
        with of_member(path):
            found.append(load())
        words.append(f"{section.label} {describe_loaded(section, found[-1])}")
    return LoadedTeacher(
        net=Ensemble([one.net for one in found]).eval(),
        digest="+".join(one.digest for one in found),
        spec=InputSpec(),
        words=tuple(words),
    )


@contextlib.contextmanager
def of_member(path: str) -> Iterator[None]:
    """A context in which errors of a teacher are told as those of one of its members."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}{str(error).removeprefix('teacher')}") from error.__cause__
