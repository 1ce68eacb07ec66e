"""Rules that choose a student's assistants without a search, each as its authors wrote it.

Sizes are numbers of parameters. Distances between sizes are ratios, and of equally good assistants
the smallest is chosen, which costs least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LAW = 2.5  # the teacher's parameters over the student's, by the capacity-gap law
MINIDISC = 0.2  # weight of the size in MiniDisc's trade-off


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


def half_way(
    student: float, teacher: float, accuracies: Mapping[int, float], sizes: Mapping[int, int]
) -> int:
    """The assistant whose accuracy is nearest the mean of teacher's and student's (TAKD).

    Args:
        student: Accuracy of the student, distilled directly.
        teacher: Accuracy of the teacher.
        accuracies: Accuracy of the assistants under the teacher, by width.
        sizes: Number of parameters of the assistants, by width.
    """
    target = (student + teacher) / 2
    return min(accuracies, key=lambda width: (abs(accuracies[width] - target), sizes[width]))


def small_enough(assistant: int, teacher: int) -> bool:
    """Whether MiniDisc considers an assistant: it has at most half the teacher's parameters.

    Args:
        assistant: Number of parameters of the assistant.
        teacher: Number of parameters of the teacher.
    """
    return 2 * assistant <= teacher


def minidisc(teacher: int, accuracies: Mapping[int, float], sizes: Mapping[int, int]) -> int:
    """The assistant of the best trade-off of accuracy and size, by MiniDisc's published code.

    It is the one of the largest acc(T -> a) + 0.2 (1 - params_a / params_T).

    Args:
        teacher: Number of parameters of the teacher.
        accuracies: Accuracy of the assistants under the teacher, by width; only of those that are
            `small_enough`.
        sizes: Number of parameters of the assistants, by width.
    """

    def trade_off(width: int) -> tuple[float, int]:
        gain = MINIDISC * (1 - sizes[width] / teacher)
        return accuracies[width] + gain, -sizes[width]

    return max(accuracies, key=trade_off)
