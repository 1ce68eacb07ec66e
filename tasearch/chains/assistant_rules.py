"""Rules of the field that choose a student's assistants by size alone, before anything is trained.

Sizes are numbers of parameters. Distances between sizes are ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LAW = 2.5  # the teacher's parameters over the student's, by the capacity-gap law


def nearest(target: float, sizes: Mapping[int, int]) -> int:
    """The width whose number of parameters is nearest, by ratio, to a target.

    Args:
        target: Number of parameters.
        sizes: Number of parameters by width.
    """
    return min(sizes, key=lambda width: (abs(math.log(sizes[width] / target)), sizes[width]))


def midpoint(student: int, teacher: int, sizes: Mapping[int, int]) -> int:
    """The assistant nearest the geometric mean of the sizes of teacher and student.

    Args:
        student: Number of parameters of the student.
        teacher: Number of parameters of the teacher.
        sizes: Number of parameters of the assistants, by width.
    """
    return nearest(math.sqrt(student * teacher), sizes)


def capacity_gap(
    student: int, teacher: int, sizes: Mapping[int, int], most: int
) -> list[tuple[int, ...]]:
    """The assistants of each chain S, 2.5 S, 6.25 S, ... below T (arXiv 2311.07052).

    The law's chain has round(ln(T / S) / ln 2.5) - 1 assistants. Chains of one assistant up to this
    number are returned, the shortest first; none where the teacher is near 2.5 S itself. Where
    several targets have the same nearest assistant, it is used once.

    Args:
        student: Number of parameters of the student, S.
        teacher: Number of parameters of the teacher, T.
        sizes: Number of parameters of the assistants, by width.
        most: Largest number of assistants.

    Returns:
        Widths of the assistants, decreasing, once each.
    """
    number = round(math.log(teacher / student) / math.log(LAW)) - 1
    targets = [nearest(student * LAW**i, sizes) for i in range(1, min(number, most) + 1)]
    chains = (tuple(sorted({*targets[:n]}, reverse=True)) for n in range(1, len(targets) + 1))
    return [*dict.fromkeys(chains)]
