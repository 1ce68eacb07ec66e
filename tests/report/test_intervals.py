from __future__ import annotations

import math

import pytest
from scipy import stats

from tasearch.report.intervals import accuracy_interval, apart, difference_interval


@pytest.mark.parametrize(("hits", "samples"), [(0, 10), (9, 10), (353, 359), (500, 1000), (7, 7)])
def test_interval_of_one_replicate_is_that_of_scipy(hits: int, samples: int) -> None:
    expected = stats.binomtest(hits, samples).proportion_ci(0.95, method="wilson")
    low, high = accuracy_interval([hits / samples], samples)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_of_replicates_adds_the_noise_of_seeds() -> None:
    samples = 1000
    alone = accuracy_interval([0.9], samples)
    alike = accuracy_interval([0.9, 0.9, 0.9], samples)
    noisy = accuracy_interval([0.89, 0.9, 0.91], samples)
    error = stats.t.isf(0.025, 2) * 0.01 / math.sqrt(3)
    half = (alone[1] - alone[0]) / 2
    assert alike == pytest.approx(alone)
    assert (noisy[1] - noisy[0]) / 2 == pytest.approx(math.hypot(half, error))


@pytest.mark.parametrize("accuracies", [[0.0], [1.0], [0.0, 1.0], [1.0, 1.0, 1.0]])
def test_interval_holds_the_accuracy_and_stays_within_0_and_1(accuracies: list[float]) -> None:
    low, high = accuracy_interval(accuracies, 20)
    assert 0 <= low <= sum(accuracies) / len(accuracies) <= high <= 1


def test_apart_tells_large_differences_only() -> None:
    def told(a: float, b: float, samples: int) -> bool:
        ends = (accuracy_interval([x], samples) for x in (a, b))
        return apart(a, next(ends), b, next(ends))

    assert not told(354 / 359, 353 / 359, 359)
    assert told(0.98, 0.90, 359)
    assert told(0.981, 0.979, 1_000_000)
    assert not told(0.9, 0.9, 1_000_000)


def test_interval_of_a_difference_is_that_of_newcombes_example() -> None:
    """Table II, contrast (a), method 10: 56 of 70 against 48 of 80."""
    hits, samples = (56, 48), (70, 80)
    one, two = ((k / n, accuracy_interval([k / n], n)) for k, n in zip(hits, samples, strict=True))
    low, high = difference_interval(*one, *two)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("a", "b"), [(0.9, 0.8), (0.5, 0.5), (1.0, 0.0), (0.2, 0.7)])
def test_interval_of_a_difference_turns_with_its_sign(a: float, b: float) -> None:
    of_a, of_b = accuracy_interval([a], 50), accuracy_interval([b], 200)
    low, high = difference_interval(a, of_a, b, of_b)
    assert difference_interval(b, of_b, a, of_a) == pytest.approx((-high, -low))
    assert -1 <= low <= a - b <= high <= 1


def test_difference_from_a_known_accuracy_has_the_width_of_the_other() -> None:
    of_a = accuracy_interval([0.9], 100)
    low, high = difference_interval(0.9, of_a, 0.5, (0.5, 0.5))
    assert (low, high) == pytest.approx((of_a[0] - 0.5, of_a[1] - 0.5))
