"""Widths for a first study."""

from __future__ import annotations

from typing import Any

import pytest

from tasearch.models.families import FAMILIES
from tasearch.models.first_ladder import make_ladder
from tasearch.models.loaded import size


@pytest.mark.parametrize(
    ("family", "shape", "classes", "given"),
    [
        ("cnn", (1, 8, 8), 10, {"params": 5_510}),
        ("mlp", (14,), 2, {}),
        ("mlp", (64,), 100, {}),
        ("mobile", (3, 64, 64), 10, {}),
        ("cnn", (1, 16, 16), 10, {"width": 48}),
        ("vit", (3, 32, 32), 10, {"width": 64}),
    ],
)
def test_students_are_between_a_hundredth_and_a_tenth_and_hold_the_classes(
    family: str, shape: tuple[int, ...], classes: int, given: dict[str, Any]
) -> None:
    made = make_ladder(family, shape, classes, **given)

    def net(width: Any) -> Any:
        return FAMILIES[family](width, in_shape=shape, num_classes=classes)

    most = given.get("params") or size(net(made.teacher))
    for width in made.students:
        student = net(width)
        assert most / 100 <= size(student) <= most / 10
        last = [*student.modules()][-1]
        assert 2**last.in_features >= classes, f"width {width} has too few features"
        assert last.in_features >= 2
    assert len(made.students) > 1
    assert size(net(made.students[0])) <= made.max_params


def test_students_of_a_large_teacher_are_the_widest_that_there_are() -> None:
    made = make_ladder("mobile", (3, 64, 64), 37, params=80_000_000)
    assert made.students == (24, 16, 12, 8, 6)


def test_tiny_teacher_still_has_students() -> None:
    assert make_ladder("mlp", (10,), 3, params=80).students
    assert len(make_ladder("mlp", (64,), 10, params=600).students) == 2
