"""Rules choose assistants by size, here with numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from tasearch.chains.assistant_rules import capacity_gap, midpoint, nearest

SIZES = {32: 9000, 16: 2300, 8: 640, 4: 240}


@pytest.mark.parametrize(("student", "width"), [(100, 8), (40, 8), (600, 16), (8100, 32)])
def test_midpoint_is_nearest_geometric_mean(student: int, width: int) -> None:
    """The teacher has 10,000: the means are 1,000, 632, 2,449 and 9,000."""
    assert midpoint(student, 10_000, SIZES) == width


def test_sizes_are_compared_by_ratio() -> None:
    assert nearest(1000, {1: 400, 2: 2000}) == 2  # 2.5 and 2; by difference 1
    assert nearest(1000, {2: 2000, 1: 500}) == 1  # equally near: the smaller


def test_capacity_gap_law_lengthens_its_chain() -> None:
    """ln 100 / ln 2.5 is 5.03, so four assistants: at 250, 625, 1,562 and 3,906."""
    assert capacity_gap(100, 10_000, SIZES, 4) == [
        (4,),
        (8, 4),
        (16, 8, 4),
    ]  # 16 is nearest to both
    assert capacity_gap(100, 10_000, SIZES, 2) == [(4,), (8, 4)]
    assert capacity_gap(100, 10_000, {32: 9000}, 4) == [(32,)]


@pytest.mark.parametrize(("student", "chains"), [(2600, 0), (2500, 1), (4000, 0)])
def test_capacity_gap_law_wants_no_assistant_near_teacher(student: int, chains: int) -> None:
    """round(ln(T / S) / ln 2.5) - 1 is 1 for a ratio of 4, and 0 below 3.95."""
    assert len(capacity_gap(student, 10_000, SIZES, 3)) == chains
