"""Rules choose an assistant by their formulas, here on numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from benchmarks import assistant_rules

SIZES = {32: 9000, 16: 2300, 8: 640, 4: 240}


@pytest.mark.parametrize(("student", "width"), [(100, 8), (40, 8), (600, 16), (8100, 32)])
def test_midpoint_is_nearest_geometric_mean(student: int, width: int) -> None:
    """The teacher has 10,000: the means are 1,000, 632, 2,449 and 9,000."""
    assert assistant_rules.midpoint(student, 10_000, SIZES) == width


def test_sizes_are_compared_by_ratio() -> None:
    assert assistant_rules.nearest(1000, {1: 400, 2: 2000}) == 2  # 2.5 and 2; by difference 1
    assert assistant_rules.nearest(1000, {2: 2000, 1: 500}) == 1  # equally near: the smaller


def test_capacity_gap_law_lengthens_its_chain() -> None:
    """ln 100 / ln 2.5 is 5.03, so four assistants: at 250, 625, 1,562 and 3,906."""
    find = assistant_rules.capacity_gap
    assert find(100, 10_000, SIZES, 4) == [(4,), (8, 4), (16, 8, 4)]  # 16 is nearest to both
    assert find(100, 10_000, SIZES, 2) == [(4,), (8, 4)]
    assert find(100, 10_000, {32: 9000}, 4) == [(32,)]


@pytest.mark.parametrize(("student", "chains"), [(2600, 0), (2500, 1), (4000, 0)])
def test_capacity_gap_law_wants_no_assistant_near_teacher(student: int, chains: int) -> None:
    """round(ln(T / S) / ln 2.5) - 1 is 1 for a ratio of 4, and 0 below 3.95."""
    assert len(assistant_rules.capacity_gap(student, 10_000, SIZES, 3)) == chains


def test_half_way_is_nearest_mean_accuracy() -> None:
    accuracies = {32: 0.97, 16: 0.88, 8: 0.80, 4: 0.6}
    assert assistant_rules.half_way(0.70, 0.98, accuracies, SIZES) == 8  # 0.84, where 16 ties
    assert assistant_rules.half_way(0.74, 0.98, accuracies, SIZES) == 16
    assert assistant_rules.half_way(0.10, 0.98, accuracies, SIZES) == 4


def test_minidisc_trades_accuracy_for_size() -> None:
    """0.2 (1 - size / teacher) is worth 0.02, 0.154, 0.1872 and 0.1952."""
    accuracies = {32: 0.99, 16: 0.90, 8: 0.87, 4: 0.86}
    assert assistant_rules.minidisc(10_000, accuracies, SIZES) == 8  # 1.0572; 16 has 1.054
    assert assistant_rules.minidisc(10_000, {**accuracies, 16: 0.91}, SIZES) == 16
    assert assistant_rules.minidisc(10_000, {**accuracies, 4: 0.87}, SIZES) == 4


def test_minidisc_considers_half_the_teacher_at_most() -> None:
    assert assistant_rules.small_enough(5000, 10_000)
    assert not assistant_rules.small_enough(5001, 10_000)
