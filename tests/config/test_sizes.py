"""The key `model.sizes`, and the widths that name its sizes."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study, render
from tasearch.errors import StudyError

SIZES = [
    {"name": "l", "width": 16, "depth": 3},
    {"name": "m", "width": 0.5, "resolution": [6, 4]},
    {"name": "s", "width": 4, "norm": "batch", "bias": False},
]
MODEL = {"model": {"family": "mine:build", "sizes": SIZES}}


def test_names_become_widths_from_large_to_small() -> None:
    study = parse_study({**MODEL, "student": {"widths": ["s"]}})
    assert study.widths == (3, 2, 1)
    assert [*map(str, study.widths)] == ["l", "m", "s"]
    assert study.model.arguments[2] == {"width": 0.5, "resolution": [6, 4]}
    assert study.model.identities[3] == '{"depth":3,"width":16}'


def test_widths_that_are_not_given_are_all_sizes_below_the_teacher() -> None:
    study = parse_study(MODEL)
    assert [str(study.teacher.width)] == ["l"]
    assert [*map(str, study.assistants.widths)] == ["m"]
    assert [*map(str, study.student.widths)] == ["m", "s"]
    brought = parse_study({**MODEL, "teacher": {"factory": "mine:make"}})
    assert (brought.teacher.width, *map(str, brought.student.widths)) == (64, "l", "m", "s")
    assert [*map(str, brought.assistants.widths)] == ["l", "m"]


def test_study_with_sizes_is_written_and_read_again() -> None:
    study = parse_study({**MODEL, "training": {"modes": {"s": "fp32 x4"}}})
    for again in (
        parse_study(tomllib.loads(render(study))),
        Study.model_validate_json(study.model_dump_json()),
        Study.model_validate(study.model_dump()),
    ):
        assert again == study
        assert [*map(str, again.widths)] == ["l", "m", "s"]
    assert {str(width): str(mode) for width, mode in study.pinned_modes.items()} == {"s": "fp32 x4"}
    one = parse_study({**MODEL, "model": {"sizes": SIZES[:1]}, "teacher": {"factory": "mine:make"}})
    assert parse_study(tomllib.loads(render(one))) == one


def test_sizes_are_part_of_a_study_only_where_there_are_some() -> None:
    assert parse_study(MODEL).identity()["student.widths"] == ["m", "s"]
    assert "model.sizes" in parse_study(MODEL).identity()
    assert "model.sizes" not in parse_study({}).identity()


def sized(*sizes: Any) -> dict[str, Any]:
    return {"model": {"sizes": [*sizes]}}


BELOW = {"student": {"widths": ["l"]}, "teacher": {"width": "m"}}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {**MODEL, "student": {"widths": ["q"]}},
        'student.widths[0]: should be an integer, or a name in model.sizes, found "q"',
    ),
    (
        {**MODEL, "student": {"widths": [2]}},
        "student.widths: should be among model.sizes, l, m, s, found 2",
    ),
    (
        {**MODEL, "student": {"widths": ["s", "m"]}},
        'student.widths: should be strictly decreasing, found ["s", "m"]',
    ),
    ({**MODEL, **BELOW}, "student.widths[0]: should be below the teacher's size m, found l"),
    (
        {**MODEL, "teacher": {"factory": "mine:make", "width": "l"}},
        "teacher.width: should be a number for a teacher that is not of the family, found 'l'",
    ),
    (
        {**MODEL, "teacher": {"factory": "mine:s"}},
        "model.sizes: no size should have the name of the teacher, which teacher.name changes, "
        "found 's'",
    ),
    ({"model": {"sizes": 3}}, "model.sizes: should be a list of tables, found 3"),
    (
        sized({"width": 8}),
        'model.sizes: entry 1 should be a table with a name, such as { name = "s", width = 8 }, '
        'found [{"width": 8}]',
    ),
    (
        sized({"name": "a-b", "width": 8}),
        "model.sizes: entry 1 should have a name of letters, digits and underscores, such as "
        '{ name = "s", width = 8 }, found [{"name": "a-b", "width": 8}]',
    ),
    (
        sized({"name": "a"}),
        "model.sizes: entry 1 should have arguments besides its name, such as "
        '{ name = "s", width = 8 }, found [{"name": "a"}]',
    ),
    (
        sized({"name": "a", "in_shape": 8}),
        "model.sizes: entry 1 should have no argument 'in_shape', "
        'found [{"name": "a", "in_shape": 8}]',
    ),
    (
        sized({"name": "a", "x": float("nan")}),
        "model.sizes: entry 1 x should be a finite number, a text, true, false or a list of these, "
        'found [{"name": "a", "x": NaN}]',
    ),
    (
        sized({"name": "a", "x": 1}, {"name": "a", "x": 2}),
        'model.sizes: should have no name twice, found [{"name": "a", "x": 1}, '
        '{"name": "a", "x": 2}]',
    ),
    (
        sized({"name": "a", "x": 1}, {"name": "b", "x": 1}),
        "model.sizes: should have no two sizes with the same arguments, found "
        '[{"name": "a", "x": 1}, {"name": "b", "x": 1}]',
    ),
]


@pytest.mark.parametrize(("content", "message"), MISTAKES)
def test_message_has_path_rule_and_value(content: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(content)
    assert str(error.value).splitlines()[0] == f"study: {message}"


def test_wrong_size_leaves_no_message_about_its_name() -> None:
    with pytest.raises(StudyError) as error:
        parse_study(
            sized({"name": "a b", "x": 8}, {"name": "s", "x": 4}) | {"student": {"widths": ["s"]}}
        )
    assert "student.widths" not in str(error.value)
