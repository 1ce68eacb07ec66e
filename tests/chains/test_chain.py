from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.keys import canonical_json, derived_seed
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe
from tests.helpers.recipes import CE, KD, SETTING

FP32, BF16 = Mode.parse("fp32"), Mode.parse("bf16")


def chain(*widths: int, last: Recipe = KD, middle: Recipe = KD) -> Chain:
    teacher = ModelSpec(width=widths[0], recipe=CE)
    assistants = [ModelSpec(width=w, recipe=middle) for w in widths[1:-1]]
    return Chain(models=(teacher, *assistants, ModelSpec(width=widths[-1], recipe=last)))


def test_hops_run_from_the_teacher_to_the_student() -> None:
    assert [hop.label for hop in chain(64, 24, 6).hops()] == ["64", "64 → 24", "64 → 24 → 6"]


def test_a_pupil_of_labels_alone_has_no_ancestors() -> None:
    assert [hop.label for hop in chain(64, 6, last=CE).hops()] == ["6"]
    assert [hop.label for hop in chain(64, 24, 6, middle=CE).hops()] == ["24", "24 → 6"]


def test_common_prefixes_have_common_keys() -> None:
    a = [hop.key(SETTING) for hop in chain(64, 24, 6).hops()]
    b = [hop.key(SETTING) for hop in chain(64, 24, 4).hops()]
    assert a[:2] == b[:2]
    assert a[2] != b[2]


@pytest.mark.parametrize("field", [f.name for f in fields(SETTING) if f.type in ("str", "int")])
def test_a_key_depends_on_the_whole_setting(field: str) -> None:
    hop = Hop(lineage=(ModelSpec(width=8, recipe=CE),))
    value = getattr(SETTING, field)
    other = replace(SETTING, **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert hop.key(other) != hop.key(SETTING)


def test_a_key_depends_on_every_recipe_and_on_the_teachers_origin() -> None:
    keys = {
        chain(64, 24, 6).hop().key(SETTING),
        chain(64, 24, 6, last=replace(KD, temperature=2.0)).hop().key(SETTING),
        chain(64, 24, 6, middle=replace(KD, temperature=2.0)).hop().key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=CE),)).key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=None, origin="a"),)).key(SETTING),
        Hop(lineage=(ModelSpec(width=64, recipe=None, origin="b"),)).key(SETTING),
    }
    assert len(keys) == 6


def test_what_a_pupil_of_labels_alone_ignores_is_not_in_its_key() -> None:
    cold = replace(CE, temperature=1.0, alpha=0.5)
    assert chain(64, 6, last=CE).hop().key(SETTING) == chain(64, 6, last=cold).hop().key(SETTING)


def test_edges_of_a_pupil_with_one_teacher_are_not_in_its_key() -> None:
    dense = replace(KD, guidance="dense")
    assert chain(64, 6, last=dense).hop().key(SETTING) == chain(64, 6).hop().key(SETTING)
    assert chain(64, 24, 6, last=dense).hop().key(SETTING) != chain(64, 24, 6).hop().key(SETTING)
    dropping = replace(dense, teacher_dropout=0.5)
    longer = [chain(64, 24, 6, last=recipe).hop() for recipe in (dense, dropping)]
    assert longer[0].key(SETTING) != longer[1].key(SETTING)


def test_teachers_are_the_pupil_before_or_all_ancestors() -> None:
    dense = replace(KD, guidance="dense")
    assert [hop.label for hop in chain(64, 24, 6).hop().teachers] == ["64 → 24"]
    found = [hop.label for hop in chain(64, 24, 6, last=dense).hop().teachers]
    assert found == ["64", "64 → 24"]
    assert chain(64, 6, last=CE).hop().teachers == ()


def test_precision_counts_where_the_lineage_is_trained() -> None:
    mixed = replace(SETTING, modes=((64, FP32), (24, BF16), (6, FP32)))
    other = replace(SETTING, modes=((64, FP32), (24, FP32), (6, FP32)))
    assert chain(64, 6).hop().key(mixed) == chain(64, 6).hop().key(other)
    assert chain(64, 24, 6).hop().key(mixed) != chain(64, 24, 6).hop().key(other)


def test_a_users_loss_counts_where_the_lineage_uses_it() -> None:
    mine = replace(SETTING, losses=(("my:loss", "1"),))
    assert chain(64, 6).hop().key(mine) == chain(64, 6).hop().key(SETTING)
    own = chain(64, 6, last=replace(KD, loss="my:loss")).hop()
    assert own.key(mine) != own.key(replace(SETTING, losses=(("my:loss", "2"),)))


def test_a_label_tells_when_there_is_no_teacher() -> None:
    assert label((64, 24, 6), {"assistants": None, "student": {"loss": "kd"}}) == "64 → 24 → 6"
    assert label((64, 6), {"assistants": None, "student": {"loss": "ce"}}) == "6 (no teacher)"


def test_widths_of_a_chain_fall() -> None:
    with pytest.raises(ValueError, match=r"widths of a chain fall strictly, found \(8, 8\)"):
        chain(8, 8)
    with pytest.raises(ValueError, match="a chain has a teacher and a student"):
        Chain(models=(ModelSpec(width=8, recipe=CE),))


def test_canonical_json_is_blind_to_order() -> None:
    assert canonical_json({"b": 1, "a": [2.5]}) == canonical_json({"a": [2.5], "b": 1})


def test_derived_seeds_differ_and_fit_63_bits() -> None:
    seeds = [derived_seed("weights", seed, width) for seed in range(10) for width in range(10)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
