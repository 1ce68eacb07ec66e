"""Widths that have a name."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np

from tasearch.chains.chain import label
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.chains.sizes import Size, size_names, with_names
from tests.helpers.recipes import CE, KD, SETTING, make_chain

L, M, S = Size(3, "l"), Size(2, "m"), Size(1, "s")
NAMED = replace(SETTING, sizes=((3, "L"), (2, "M"), (1, "S")))


def test_size_is_a_number_that_is_shown_by_its_name() -> None:
    assert L > M == 2
    assert {2: "two"}[M] == "two"
    assert json.dumps({"width": M, M: [M]}) == '{"width": 2, "2": [2]}'
    assert np.array([L, S]).tolist() == [3, 1]
    assert f"{M} {[M]} {M:>3}" == "m [m]   m"
    same = copy.deepcopy(M)
    assert (same, same.name) == (2, "m")


def test_chain_is_shown_by_the_names_of_its_sizes() -> None:
    chain = make_chain(64, M, S)
    assert label(chain.widths, None) == "64 → m → s"
    assert [hop.label for hop in chain.hops()] == ["64", "64 → m", "64 → m → s"]
    read = Hop.from_json({"lineage": [{**vars(m), "recipe": None} for m in chain.models]})
    assert read.label == "64 → m → s"


def test_names_stand_beside_stored_numbers() -> None:
    for widths in ((64, M, S), (L, S), (64, 8)):
        stored = json.loads(json.dumps([*widths])), size_names(widths)
        found = with_names(*stored)
        assert found == widths
        assert [*map(str, found)] == [*map(str, widths)]


def test_key_depends_on_what_a_size_is_and_not_on_its_place_or_name() -> None:
    modes = ((1, Mode.parse("bf16")), (3, Mode.parse("fp32")))
    own = make_chain(L, S).hop().key(replace(NAMED, modes=modes))
    moved = replace(
        SETTING,
        sizes=((4, "L"), (3, "X"), (2, "S"), (1, "Y")),
        modes=((2, Mode.parse("bf16")), (4, Mode.parse("fp32"))),
    )
    again = Hop(lineage=make_chain(Size(4, "large"), Size(2, "small")).models)
    assert again.key(moved) == own
    others = [
        replace(NAMED, modes=((1, Mode.parse("fp32")), (3, Mode.parse("fp32")))),
        replace(NAMED, modes=modes, sizes=((3, "L"), (1, "other"))),
        replace(SETTING, modes=modes),
    ]
    assert own not in {make_chain(L, S).hop().key(other) for other in others}


def test_key_of_widths_is_what_it_was_before_sizes_had_names() -> None:
    assert make_chain(64, 24, 6).hop().key(SETTING) == "33ad04e83a3492701758e77beb54327f"
    assert ModelSpec(width=6, recipe=KD) == ModelSpec(width=Size(6, "s"), recipe=KD)
    assert Hop(lineage=(ModelSpec(width=64, recipe=CE),)).key(NAMED) == Hop(
        lineage=(ModelSpec(width=64, recipe=CE),)
    ).key(SETTING)
