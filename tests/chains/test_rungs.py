"""Rungs, and at which of them a teacher teaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.chains.recipe import LATER, complete_recipe, early_teacher_text
from tasearch.chains.rungs import teaching_rung
from tests.helpers.recipes import CE, KD


@pytest.mark.parametrize(
    ("share", "rungs", "expected"),
    [(1.0, 8, 8), (0.25, 8, 2), (0.26, 8, 3), (0.07, 100, 7), (1e-15, 8, 1), (0.5, 1, 1)],
)
def test_share_is_rounded_up_to_a_rung(share: float, rungs: int, expected: int) -> None:
    recipe = replace(KD, teacher_epoch=share)
    assert {teaching_rung(recipe, epoch, rungs) for epoch in range(KD.epochs)} == {expected}


@given(st.integers(1, 40), st.integers(1, 12))
def test_progressive_teacher_moves_on_to_its_last_rung(epochs: int, rungs: int) -> None:
    recipe = replace(KD, teacher_epoch="progressive", epochs=epochs)
    found = [teaching_rung(recipe, epoch, rungs) for epoch in range(epochs)]
    assert found == sorted(found)
    assert found[-1] == rungs
    assert found[0] >= 1
    for epoch, rung in enumerate(found):  # the first rung that is not behind the student
        assert rung * epochs >= (epoch + 1) * rungs > (rung - 1) * epochs


def test_content_names_teacher_epoch_where_it_is_not_the_end() -> None:
    assert "teacher_epoch" not in KD.content()
    assert complete_recipe(KD.content())["teacher_epoch"] == 1.0
    early = replace(KD, teacher_epoch=0.25)
    assert early.content() == {**KD.content(), "teacher_epoch": 0.25}
    assert complete_recipe(early.content()) == {**LATER, **early.content()}


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.0, ""), (0.25, "teacher at 25 %"), (0.125, "teacher at 12.5 %"),
     ("progressive", "progressive teacher")],
)  # fmt: skip
def test_words_tell_of_an_earlier_teacher(value: float | str, words: str) -> None:
    recipe = replace(KD, teacher_epoch=value)
    assert early_teacher_text(recipe.content()) == words
    assert early_teacher_text(replace(recipe, loss="ce").content()) == ""
    assert (words in recipe.words) and ("teacher" in recipe.words) == bool(words)
    assert CE.words == "loss 'ce', learning_rate 0.01"
