"""The keys `hidden` and `hidden_weight` of a study file."""

from __future__ import annotations

from typing import Any

import pytest

from tasearch.chains.recipe import complete_recipe, told_texts
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.errors import StudyError
from tests.helpers.studies import tiny

TEXTS: dict[str, Any] = {"family": "transformer"}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("none", ("none",)),
        ("states", ("states",)),
        ("relations+states", ("states+relations",)),
        (["none", "embeddings", "states+embeddings"], ("none", "embeddings", "states+embeddings")),
    ],
)
def test_hidden_is_a_value_or_a_list_in_one_order(given: Any, values: tuple[str, ...]) -> None:
    study = tiny(model=TEXTS, student={"hidden": given})
    assert study.student.hidden == values
    assert Study.model_validate_json(study.model_dump_json()) == study
    written = list(values) if len(values) > 1 else values[0]
    assert f"hidden = {written!r}".replace("'", '"') in render(study)


@pytest.mark.parametrize("wrong", ["", "state", "states+", "none+states", "states+states", 1, []])
def test_other_values_of_hidden_are_refused(wrong: Any) -> None:
    with pytest.raises(StudyError, match=r"student\.hidden"):
        tiny(model=TEXTS, student={"hidden": wrong})


def test_message_names_the_layers() -> None:
    with pytest.raises(StudyError) as error:
        tiny(model=TEXTS, student={"hidden": "attention"})
    assert str(error.value) == (
        'study: student.hidden: should be "none", "states", "relations", "embeddings", or some '
        'of them joined, such as "states+relations", found "attention"'
    )


@pytest.mark.parametrize("wrong", [0, -1.0, float("inf"), "1"])
def test_weight_is_a_number_above_0(wrong: Any) -> None:
    with pytest.raises(StudyError, match=r"student\.hidden_weight"):
        tiny(model=TEXTS, student={"hidden": "states", "hidden_weight": wrong})


@pytest.mark.parametrize("role", ["student", "assistants"])
@pytest.mark.parametrize(
    ("sections", "rule"),
    [
        (
            {},
            'unless model.family is "transformer" or "hf:FOLDER", whose hidden layers are known; '
            "found family 'mlp'",
        ),
        (
            {"model": TEXTS, "teacher": {"outputs": "logits"}},
            "with teacher.outputs: there is no model whose layers could be read",
        ),
        (
            {
                "model": TEXTS,
                "teacher": {"members": [{"factory": "own:a", "pretrained": False}] * 2},
            },
            "with teacher.members: several models have no layers in common",
        ),
        (
            {"model": TEXTS, "teacher": {"factory": "own:make", "epochs": 0}},
            'with a teacher that is neither of the family nor "hf:FOLDER", found factory '
            "'own:make'",
        ),
    ],
    ids=["family", "outputs", "ensemble", "own teacher"],
)
def test_hidden_layers_are_refused_where_there_are_none(
    role: str, sections: dict[str, Any], rule: str
) -> None:
    with pytest.raises(StudyError) as error:
        tiny(**sections, **{role: {"hidden": ["none", "states"]}})
    assert f'{role}.hidden: should be "none" {rule}' in str(error.value)


def test_hidden_layers_without_influence_go_with_any_family() -> None:
    unused = {"hidden": "states"}
    study = tiny(student={"loss": "ce", **unused}, assistants={"max": 0, **unused})
    assert not study.student.reads_hidden


def test_study_of_before_is_the_same_study() -> None:
    plain = tiny(model=TEXTS).identity()
    assert not any("hidden" in name for name in plain)
    for own in ({"hidden": "states"}, {"hidden_weight": 2.0}):
        assert tiny(model=TEXTS, student=own).identity() != plain


def test_weight_without_hidden_layers_makes_no_further_recipe() -> None:
    own = {"hidden": ["none", "states"], "hidden_weight": [0.5, 2.0]}
    recipes = tiny(model=TEXTS, student=own).recipes("student").distinct(one_teacher=True)
    assert [(r.hidden, r.hidden_weight) for r in recipes] == [
        ("none", 0.5),
        ("states", 0.5),
        ("states", 2.0),
    ]


def test_recipe_tells_hidden_layers_where_they_are_used() -> None:
    content = {"loss": "kd", "hidden": "states+relations", "hidden_weight": 0.5}
    assert told_texts(content) == ["hidden states and relations", "hidden weight 0.5"]
    assert told_texts({**content, "loss": "ce"}) == told_texts({"loss": "kd"}) == []
    assert complete_recipe({"loss": "kd"})["hidden"] == "none"
