"""Rules choose an assistant by their formulas, here on numbers that can be checked by hand."""

from __future__ import annotations

from benchmarks import assistant_rules

SIZES = {32: 9000, 16: 2300, 8: 640, 4: 240}


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
