"""Whether a teacher can be too large, or a student too small."""

from __future__ import annotations

import pytest

from benchmarks.teacher_sizes import (
    STUDENTS,
    TEACHERS,
    Accuracies,
    compared,
    summarize,
    teachers_of,
)

NOISE = (-0.2, 0.0, 0.1, 0.1)


def test_no_student_has_a_narrower_teacher() -> None:
    assert teachers_of(8) == [64, 32, 16]
    assert teachers_of(2) == [*TEACHERS]
    assert teachers_of(4) == [64, 32, 16, 8]


def test_differences_are_corrected_over_all_comparisons() -> None:
    same, better = [90.0, 91.0, 92.0], [95.0, 96.1, 96.9]
    found = compared({"a": (better, same), "b": (same, same)}, 0.01)
    assert found["a"]["mean"] == pytest.approx(5.0)
    single = compared({"a": (better, same)}, 0.01)["a"]["corrected_p"]
    assert found["a"]["corrected_p"] == pytest.approx(2 * single)
    assert found["b"]["corrected_p"] == 1.0


def made_up() -> dict[str, Accuracies]:
    """Teacher 16 is the best by 3 points for kd; by dist all are equal. Labels give 85 %."""
    found: dict[str, Accuracies] = {"ce": {("labels", s): [85.0] * 4 for s in STUDENTS}}
    for loss in ("kd", "dist"):
        found[loss] = {
            (str(teacher), student): [
                90.0 + 3.0 * (loss == "kd" and teacher == 16) + own for own in NOISE
            ]
            for student in STUDENTS
            for teacher in teachers_of(student)
        }
    return found


def test_best_teacher_is_chosen_by_other_replicates() -> None:
    found = summarize(made_up(), 0.01)
    smaller, best = found["teacher_less_largest"], found["best_teacher_less_largest"]
    assert smaller["kd, student 8, teacher 16"]["mean"] == pytest.approx(3.0)
    assert smaller["dist, student 2, teacher 4"]["mean"] == pytest.approx(0.0)
    assert len(smaller) == 2 * sum(len(teachers_of(student)) - 1 for student in STUDENTS)
    assert not any("teacher 64" in name for name in smaller)
    assert best["kd, student 4"]["mean"] == pytest.approx(3.0)
    assert best["dist, student 4"]["mean"] == pytest.approx(0.0)
    assert found["largest_teacher_less_labels"]["dist, student 2"]["mean"] == pytest.approx(5.0)
