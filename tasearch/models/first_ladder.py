"""Widths for a first study: a family for some samples, and a ladder below a teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.config.values import LADDERS
from tasearch.errors import ModelError
from tasearch.models.families import FAMILIES
from tasearch.models.loaded import size
from tasearch.models.names import match_names

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TEACHERS = {"mlp": 256, "cnn": 64, "mobile": 32}  # widths of teachers that are trained here
SMALL = 16  # pixels of the longer side of images for which two convolutions are enough
FAR = 100  # times that a teacher has more parameters than a student, at most
GAP = 10  # times that a teacher has more parameters than a student, at least
NEAR = 0.75  # share of the parameters of a teacher that an assistant has, at most
MOST = 5  # widths of students, and of assistants


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The widths of a study.

    Args:
        teacher: Width of the teacher, or name of its size, or the number that stands for it.
        assistants: Widths of the assistants, decreasing.
        students: Widths of the students, decreasing.
        max_params: Parameters of the widest student, rounded up to two digits.
    """

    teacher: int | str
    assistants: tuple[int | str, ...]
    students: tuple[int | str, ...]
    max_params: int


def family_for(in_shape: tuple[int, ...], *, texts: bool = False) -> str:
    """The built-in family to begin with: for texts, features, small images and larger ones.

    Args:
        in_shape: Shape of a sample: (channels, height, width), (features,) or (tokens,).
        texts: Whether samples are token ids of texts.
    """
    if texts:
        return "transformer"
    if len(in_shape) == 1:
        return "mlp"
    return "cnn" if max(in_shape[1:]) <= SMALL else "mobile"


def make_ladder(
    family: str,
    in_shape: tuple[int, ...],
    classes: int,
    *,
    width: int | None = None,
    params: int | None = None,
) -> Ladder:
    """Widths below a teacher.

    Students have at most a tenth of its parameters, assistants at most three quarters, and no fewer
    than the narrowest student but one. Where that leaves some, students have at least a hundredth
    of its parameters, and a last layer that is wide enough for the classes.

    Args:
        family: A built-in family.
        in_shape: Shape of a sample.
        classes: Number of classes.
        width: Width of the teacher, if it is of the family; None for one that is trained here, or
            is of another family.
        params: Number of parameters of a teacher of another family; None for one of the family, or
            if it is not known.

    Raises:
        ModelError: The teacher is too small for students below it.
    """
    if width is None:
        width = TEACHERS.get(family, max(LADDERS.get(family, (max(TEACHERS.values()),))))
    nets = {w: _built(family, w, in_shape, classes) for w in (width, *_widths(family))}
    own = {w: size(net) for w, net in nets.items() if net is not None}
    most = params or own[width]
    below = [w for w in sorted(own, reverse=True) if own[w] <= NEAR * most and w < width]
    able = [w for w in below if _holds(nets[w], classes)]
    small = [w for w in able if own[w] <= most / GAP]
    near = [w for w in small if own[w] >= most / FAR]
    students = tuple((near or small)[:MOST] or (able if len(able) > 1 else below)[-2:])
    if not students:
        raise ModelError(
            f"a teacher of {most:,} parameters leaves no smaller {family} for students"
        )
    middle = [w for w in below if w > students[-1]]
    return Ladder(
        teacher=width,
        assistants=_spread(middle, MOST),
        students=students,
        max_params=rounded_up(own[students[0]]),
    )


def find_family(
    tensors: Mapping[str, Tensor], in_shape: tuple[int, ...], classes: int
) -> tuple[str, int] | None:
    """The built-in family and the width whose models have these tensors; None if there are none.

    Args:
        tensors: A state dict.
        in_shape: Shape of a sample.
        classes: Number of classes.
    """
    for family in FAMILIES:
        for width in _widths(family):
            try:
                with torch.device("meta"):
                    net = FAMILIES[family](width, in_shape=in_shape, num_classes=classes)
                expected = net.state_dict()
                names = match_names(tensors, expected)
            except ModelError:  # a family that does not take such samples or has no such width
                continue
            if names.match and all(names.tensors[n].shape == expected[n].shape for n in expected):
                return family, width
    return None


def _widths(family: str) -> tuple[int, ...]:
    return LADDERS.get(family, WIDTHS)


def _built(family: str, width: int, in_shape: tuple[int, ...], classes: int) -> nn.Module | None:
    """A model without values; None at a width that the family does not have."""
    try:
        with torch.device("meta"):
            return FAMILIES[family](width, in_shape=in_shape, num_classes=classes)
    except ModelError:
        return None


def _holds(net: nn.Module | None, classes: int) -> bool:
    """Whether the last layer has two inputs, and as many as binary digits number the classes."""
    assert net is not None
    *_, last = (module for module in net.modules() if isinstance(module, nn.Linear))
    return last.in_features >= max(2, (classes - 1).bit_length())


def _spread(widths: list[int], most: int) -> tuple[int, ...]:
    """Some widths, evenly spaced in their list, its first and last among them."""
    if len(widths) <= most:
        return tuple(widths)
    return tuple(widths[round(i * (len(widths) - 1) / (most - 1))] for i in range(most))


def rounded_up(count: int) -> int:
    """A number rounded up to two digits.

    Example:
        >>> rounded_up(3_402)
        3500
    """
    unit: int = 10 ** max(len(str(count)) - 2, 0)
    return math.ceil(count / unit) * unit
