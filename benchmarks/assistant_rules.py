"""Rules that choose a student's assistants by trained models, each as its authors wrote it.

Sizes are numbers of parameters. Of equally good assistants the smallest is chosen, which costs
least. The rules by size alone are in `tasearch.chains.assistant_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping

MINIDISC = 0.2  # weight of the size in MiniDisc's trade-off


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
