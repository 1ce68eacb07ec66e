from __future__ import annotations

import pytest

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import ModelSpec
from tests.helpers.recipes import CE, make_chain


def test_hops_run_from_teacher_to_student() -> None:
    assert [hop.label for hop in make_chain(64, 24, 6).hops()] == ["64", "64 → 24", "64 → 24 → 6"]


def test_model_of_labels_alone_has_no_ancestors() -> None:
    assert [hop.label for hop in make_chain(64, 6, last=CE).hops()] == ["6"]
    assert [hop.label for hop in make_chain(64, 24, 6, middle=CE).hops()] == ["24", "24 → 6"]


def test_label_says_when_there_is_no_teacher() -> None:
    assert label((64, 24, 6), {"assistants": None, "student": {"loss": "kd"}}) == "64 → 24 → 6"
    assert label((64, 6), {"assistants": None, "student": {"loss": "ce"}}) == "6 (no teacher)"


def test_chain_refuses_widths_that_do_not_decrease() -> None:
    with pytest.raises(ValueError, match=r"widths of a chain fall strictly, found \(8, 8\)"):
        make_chain(8, 8)
    with pytest.raises(ValueError, match="a chain has a teacher and a student"):
        Chain(models=(ModelSpec(width=8, recipe=CE),))
