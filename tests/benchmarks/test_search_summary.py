"""Costs, areas and ratios of searches, on numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.draws import Draw, Plan
from benchmarks.search_summary import area, cost_to, quartiles, ratios

RUN = {"paid": [10.0, 100.0, 1000.0], "regrets": [0.5, 0.1, 0.0]}
INF = math.inf


def plan(*weights: float, seeds: int = 1) -> Plan:
    return Plan(draws={Draw(seen=(i,)): w for i, w in enumerate(weights)}, seeds=seeds)


def test_area_is_summed_over_decades_of_cost() -> None:
    """One decade without a trial, one at 0.5, one at 0.1, one at 0."""
    assert area(RUN, (1, 1e4)) == pytest.approx(1.6)
    assert area(RUN, (1, 100)) == pytest.approx(1.5)
    assert area(RUN, (10**1.5, 1e4)) == pytest.approx(0.35)
    assert area({"paid": [10.0], "regrets": [0.5]}, (1, 1e4)) == pytest.approx(2.5)


def test_regret_is_reached_for_good() -> None:
    assert [cost_to(RUN, level) for level in (0.5, 0.2, 0.1, 0.0)] == [10, 100, 100, 1000]
    rising = {"paid": [1.0, 2.0, 3.0, 4.0], "regrets": [0.9, 0.01, 0.3, 0.0]}
    assert cost_to(rising, 0.01) == 4
    assert cost_to({"paid": [1.0], "regrets": [0.02]}, 0.01) == INF


def test_weights_count_as_repetitions() -> None:
    values, times = [5.0, 1.0, INF, 2.0, 4.0], [3, 1, 2, 4, 1]
    repeated = [value for value, n in zip(values, times, strict=True) for _ in range(n)]
    assert quartiles(values, times) == quartiles(repeated)
    assert quartiles(values, times) == {"low": 2, "median": 4, "high": 5}
    assert quartiles([1.0, INF], [1, 3])["median"] is None


def test_costs_are_compared_on_the_same_draw() -> None:
    """Each is twice the other's, which medians over all draws would not tell."""
    found = ratios(plan(0.2, 0.2, 0.6), [2.0, 20.0, 200.0], [1.0, 10.0, 100.0])
    assert found == {"low": 2, "median": 2, "high": 2, "draws": 3}
    assert ratios(plan(0.1, 0.1, 0.8), [1.0, 2.0, 3.0], [1.0] * 3)["median"] == 3
    seeds = ratios(plan(0.5, 0.5, seeds=3), [9.0, 4.0, 1.0, 8.0, 8.0, 8.0], [2.0] * 6)
    assert seeds["median"] == 2  # of 4 / 2 and 8 / 2 the first half


def test_costs_that_were_not_reached_are_compared_as_far_as_known() -> None:
    assert ratios(plan(1.0), [INF], [1.0])["median"] is None
    assert ratios(plan(1.0), [1.0], [INF])["median"] == 0
    assert ratios(plan(0.4, 0.6), [3.0, INF], [1.0, INF]) == {
        "low": 3,
        "median": 3,
        "high": 3,
        "draws": 1,
    }
    assert ratios(plan(1.0), [INF], [INF])["draws"] == 0


def test_interval_is_of_distinct_draws() -> None:
    """More seeds of the same draws do not narrow it."""
    own, weights = [1.0, 2.0, 4.0, 8.0], (0.25, 0.25, 0.25, 0.25)
    few = ratios(plan(*weights), own, [1.0] * 4)
    low, median, high = (few[key] or 0 for key in ("low", "median", "high"))
    assert low < median < high
    many = ratios(plan(*weights, seeds=50), [v for v in own for _ in range(50)], [1.0] * 200)
    assert few == many
