from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tests.helpers.recipes import CE, KD, SETTING, make_chain

FP32, BF16 = Mode.parse("fp32"), Mode.parse("bf16")


def test_common_prefixes_have_common_keys() -> None:
    a = [hop.key(SETTING) for hop in make_chain(64, 24, 6).hops()]
    b = [hop.key(SETTING) for hop in make_chain(64, 24, 4).hops()]
    assert a[:2] == b[:2]
    assert a[2] != b[2]


@pytest.mark.parametrize("field", [f.name for f in fields(SETTING) if f.type in ("str", "int")])
def test_key_depends_on_whole_setting(field: str) -> None:
    hop = make_chain(64, 8, last=replace(KD, teacher_epoch=0.5)).hop()
    value = getattr(SETTING, field)
    other = replace(SETTING, **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert hop.key(other) != hop.key(SETTING)


def test_key_depends_on_every_recipe_and_origin() -> None:
    keys = {
        make_chain(64, 24, 6).hop().key(SETTING),
        make_chain(64, 24, 6, last=replace(KD, temperature=2.0)).hop().key(SETTING),
        make_chain(64, 24, 6, middle=replace(KD, temperature=2.0)).hop().key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=CE),)).key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=None, origin="a"),)).key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=None, origin="b"),)).key(SETTING),
    }
    assert len(keys) == 6


def test_key_ignores_distillation_options_without_teacher() -> None:
    cold = replace(CE, temperature=1.0, alpha=0.5)
    assert make_chain(64, 6, last=CE).hop().key(SETTING) == make_chain(64, 6, last=cold).hop().key(
        SETTING
    )


def test_key_ignores_guidance_of_model_with_one_teacher() -> None:
    dense = replace(KD, guidance="dense")
    assert make_chain(64, 6, last=dense).hop().key(SETTING) == make_chain(64, 6).hop().key(SETTING)
    assert make_chain(64, 24, 6, last=dense).hop().key(SETTING) != make_chain(64, 24, 6).hop().key(
        SETTING
    )
    dropping = replace(dense, teacher_dropout=0.5)
    longer = [make_chain(64, 24, 6, last=recipe).hop() for recipe in (dense, dropping)]
    assert longer[0].key(SETTING) != longer[1].key(SETTING)


def test_keys_of_before_teacher_epoch_are_the_same() -> None:
    """As they were in runs that knew no earlier epochs of a teacher."""
    dense = replace(KD, guidance="dense")
    serial, both, alone = (make_chain(64, 24, 6, last=recipe).hop() for recipe in (KD, dense, CE))
    assert serial.lineage[0].recipe == CE
    assert [hop.key(replace(SETTING, rungs=8)) for hop in make_chain(64, 24, 6).hops()] == [
        "2361e3c3440753b35dbd90257afe4913",
        "87d369165e8f9a1738c3bf446e366345",
        "33ad04e83a3492701758e77beb54327f",
    ]
    assert both.key(SETTING) == "d3bb5cd80b055ab65c4d9d365d5fd99c"
    assert alone.key(SETTING) == "8eacd6d888213ef013e676158b1eab55"


def test_key_depends_on_teacher_epoch_of_distilled_models_alone() -> None:
    recipes = [replace(KD, teacher_epoch=value) for value in (1.0, 0.5, "progressive")]
    assert len({make_chain(64, 6, last=recipe).hop().key(SETTING) for recipe in recipes}) == 3
    assert len({make_chain(64, 24, 6, middle=r).hop().key(SETTING) for r in recipes}) == 3
    labels = [replace(recipe, loss="ce") for recipe in recipes]
    assert len({make_chain(64, 6, last=recipe).hop().key(SETTING) for recipe in labels}) == 1


def test_key_depends_on_rungs_only_behind_an_earlier_epoch() -> None:
    more = replace(SETTING, rungs=9)
    early = make_chain(64, 24, 6, middle=replace(KD, teacher_epoch=0.5))
    assert [hop.key(SETTING) == hop.key(more) for hop in early.hops()] == [True, False, False]


def test_teachers_are_model_before_or_all_ancestors() -> None:
    dense = replace(KD, guidance="dense")
    assert [hop.label for hop in make_chain(64, 24, 6).hop().teachers] == ["64 → 24"]
    found = [hop.label for hop in make_chain(64, 24, 6, last=dense).hop().teachers]
    assert found == ["64", "64 → 24"]
    assert make_chain(64, 6, last=CE).hop().teachers == ()


def test_key_depends_on_modes_of_lineage_alone() -> None:
    mixed = replace(SETTING, modes=((64, FP32), (24, BF16), (6, FP32)))
    other = replace(SETTING, modes=((64, FP32), (24, FP32), (6, FP32)))
    assert make_chain(64, 6).hop().key(mixed) == make_chain(64, 6).hop().key(other)
    assert make_chain(64, 24, 6).hop().key(mixed) != make_chain(64, 24, 6).hop().key(other)


def test_key_depends_on_user_loss_that_lineage_uses() -> None:
    mine = replace(SETTING, losses=(("my:loss", "1"),))
    assert make_chain(64, 6).hop().key(mine) == make_chain(64, 6).hop().key(SETTING)
    own = make_chain(64, 6, last=replace(KD, loss="my:loss")).hop()
    assert own.key(mine) != own.key(replace(SETTING, losses=(("my:loss", "2"),)))
