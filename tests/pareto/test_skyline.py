from __future__ import annotations

import math
import random
from statistics import variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.pareto.skyline import (
    ROUNDING,
    FinishedStudent,
    PruningRule,
    StoppingCriterion,
    Threshold,
)
from tests.helpers.students import QUICK, RULE, SLOW, finished, history, thresholds


def test_threshold_stops_student_beyond_largest_gain() -> None:
    threshold = thresholds(RULE, [SLOW, QUICK])[0]
    assert threshold == Threshold(gain=0.6 - 0.1, margin=0.0, skyline=0.8)
    assert threshold.reach(0.25) == 0.75
    assert threshold.stops(0.25)
    assert not threshold.stops(0.35)


def test_gains_count_from_same_rung() -> None:
    threshold = thresholds(RULE, [SLOW, QUICK])[1]
    assert threshold is not None
    assert threshold.reach(0.6) == pytest.approx(0.6 + (0.6 - 0.5))
    assert threshold.stops(0.6)
    assert len(thresholds(RULE, [SLOW, QUICK])) == 2  # the last rung has nothing to hope for


def test_quantile_and_margin_move_bound() -> None:
    low = thresholds(
        PruningRule(gain_quantile=0.5, noise_margin=0.0, n_startup_trials=2), [SLOW, QUICK]
    )[0]
    assert low is not None
    assert low.reach(0.25) == 0.25 + (0.8 - 0.7)
    kind = thresholds(
        PruningRule(gain_quantile=1.0, noise_margin=2.0, n_startup_trials=2), [SLOW, QUICK]
    )[0]
    assert kind is not None
    assert kind.margin == 2 * history(RULE, [SLOW, QUICK]).noise > 0.05
    assert not kind.stops(0.25)


def test_quantile_selects_from_smallest_to_largest_gain() -> None:
    gains = [
        threshold.gain
        for q in (0.0, 0.5, 0.51, 1.0)
        if (
            threshold := thresholds(
                PruningRule(gain_quantile=q, noise_margin=0.0, n_startup_trials=1), [SLOW, QUICK]
            )[0]
        )
    ]
    assert gains == [0.8 - 0.7] * 2 + [0.6 - 0.1] * 2


def test_rule_stops_nothing_without_history_or_smaller_rival() -> None:
    strict = PruningRule(gain_quantile=1.0, noise_margin=0.0, n_startup_trials=3)
    assert thresholds(strict, [SLOW, QUICK]) == (None, None)
    assert thresholds(strict, [SLOW, QUICK, finished(0.1, 0.2)]) == (None, None)  # of other rungs
    assert (
        thresholds(RULE, [])
        == thresholds(PruningRule(gain_quantile=0.0, noise_margin=0.0, n_startup_trials=1), [])
        == (None,) * 2
    )
    bigger = [finished(0.7, 0.8, 0.8, params=11), finished(0.7, 0.8, 0.8, latency_ms=1.1)]
    assert history(RULE, bigger).skyline(params=10, latency_ms=1.0) is None
    assert thresholds(RULE, bigger) == (None, None)
    assert None not in thresholds(RULE, bigger, params=11)


shares = st.floats(0, 1)


@st.composite
def students(draw: st.DrawFn, rungs: tuple[int, ...] = (1, 2, 3, 4)) -> FinishedStudent:
    length = draw(st.sampled_from(rungs))
    curve = draw(st.lists(shares, min_size=length, max_size=length))
    return finished(
        *curve,
        params=draw(st.integers(9, 11)),
        latency_ms=draw(st.sampled_from((0.9, 1.0, 1.1))),
        accuracies=tuple(draw(st.lists(shares, max_size=3))),
    )


several = st.lists(students(), max_size=9)


rules = st.builds(
    PruningRule,
    gain_quantile=shares,
    noise_margin=st.floats(0, 4),
    n_startup_trials=st.integers(1, 4),
)


def noise_of(among: list[FinishedStudent]) -> float:
    """By its definition, from the list."""
    found = []
    for student in among:
        if len(student.accuracies) > 1:
            found.append(variance(student.accuracies) / len(student.accuracies))
        elif len(student.curve) > 2:
            a, b, c = student.curve[-3:]
            found.append((a - 2 * b + c) ** 2 / 6)
    return math.sqrt(sum(found) / len(found)) if found else 0.0


@given(rules, several, st.integers(1, 4))
def test_thresholds_follow_their_definition(
    rule: PruningRule, among: list[FinishedStudent], rungs: int
) -> None:
    ends = [f.curve[-1] for f in among if f.params <= 10 and f.latency_ms <= 1.0]
    alike = [f for f in among if len(f.curve) == rungs]
    found = thresholds(rule, among, rungs=rungs)
    assert history(rule, among).skyline(params=10, latency_ms=1.0) == max(ends, default=None)
    assert history(rule, among).noise == pytest.approx(noise_of(among))
    if not ends or len(alike) < rule.n_startup_trials:
        assert found == (None,) * (rungs - 1)
        return
    assert len(found) == rungs - 1
    for rung, threshold in enumerate(found):
        gains = sorted(f.curve[-1] - f.curve[rung] for f in alike)
        # the smallest gain that so large a share of the students did not exceed
        gain = min(
            g for g in gains if sum(h <= g for h in gains) >= rule.gain_quantile * len(gains)
        )
        assert threshold is not None
        assert (threshold.gain, threshold.skyline) == (gain, max(ends))
        assert threshold.margin == pytest.approx(rule.noise_margin * noise_of(among))


@given(rules, several, st.randoms(use_true_random=False))
def test_thresholds_ignore_order_of_students(
    rule: PruningRule, among: list[FinishedStudent], rng: random.Random
) -> None:
    other = rng.sample(among, len(among))
    for rungs in (1, 2, 3, 4):
        pairs = zip(
            thresholds(rule, among, rungs=rungs), thresholds(rule, other, rungs=rungs), strict=True
        )
        for mine, theirs in pairs:
            assert (mine is None) == (theirs is None)
            if mine and theirs:
                assert (mine.gain, mine.skyline) == (theirs.gain, theirs.skyline)
                assert mine.margin == pytest.approx(theirs.margin)  # a sum, rounded on the way


@given(rules, several, shares, st.floats(0, 4), st.lists(shares, min_size=4, max_size=4))
def test_larger_quantile_or_margin_never_stops_more(
    rule: PruningRule,
    among: list[FinishedStudent],
    quantile: float,
    margin: float,
    curve: list[float],
) -> None:
    kinder = PruningRule(
        gain_quantile=max(rule.gain_quantile, quantile),
        noise_margin=max(rule.noise_margin, margin),
        n_startup_trials=rule.n_startup_trials,
    )
    strict = StoppingCriterion(thresholds=thresholds(rule, among, rungs=4), audited=False).decision(
        curve
    )
    kind = StoppingCriterion(thresholds=thresholds(kinder, among, rungs=4), audited=False).decision(
        curve
    )
    assert kind is None or (strict is not None and strict.rung <= kind.rung)


alike = students(rungs=(3,)).map(lambda f: finished(*f.curve))


@given(st.lists(alike, min_size=2, max_size=8), st.lists(shares, min_size=1, max_size=2))
def test_rule_keeps_student_that_could_repeat_best_gain(
    among: list[FinishedStudent], curve: list[float]
) -> None:
    threshold = thresholds(RULE, among)[len(curve) - 1]
    gain = max(f.curve[-1] - f.curve[len(curve) - 1] for f in among)
    assert threshold is not None
    assert threshold.stops(curve[-1]) == (
        curve[-1] + gain < max(f.curve[-1] for f in among) - ROUNDING
    )


def test_rule_keeps_student_that_could_tie_with_skyline() -> None:
    rule = PruningRule(gain_quantile=1.0, noise_margin=1.0, n_startup_trials=1)
    below = 0
    for start in range(90):
        for gain in range(1, 10):
            end = (start + gain + 1) / 100  # the rival began 0.01 higher and gained as much
            twice = (end - 0.01, end + 0.01)  # a noise of 0.01
            rival = finished((start + 1) / 100, end, accuracies=twice)
            (threshold,) = thresholds(rule, [rival], rungs=2)
            assert threshold is not None
            assert not threshold.stops(start / 100)
            assert threshold.stops(start / 100 - 1e-6)
            below += threshold.reach(start / 100) < end
    assert below > 0  # as floats add up, some ties look like less


def test_noise_of_replicates_is_that_of_their_mean() -> None:
    found = history(RULE, [finished(0.1, 0.2, accuracies=(0.1, 0.3))])
    assert found.noise == pytest.approx(math.sqrt(0.02 / 2))
    found.add(finished(0.1, 0.5, accuracies=(0.5, 0.5)))
    assert found.noise == pytest.approx(math.sqrt(0.01 / 2))  # variances are averaged


def test_noise_without_replicates_comes_from_ends_of_curves() -> None:
    assert history(RULE, [finished(0.9, 0.5, 0.6, 0.6)]).noise == pytest.approx(0.1 / 6**0.5)
    assert history(RULE, [finished(0.9, 0.5, 0.6, 0.7)]).noise == pytest.approx(0.0)
    assert history(RULE, [finished(0.5, 0.9)]).noise == 0.0  # too short to bend
    assert history(RULE, []).noise == 0.0


@pytest.mark.parametrize("replicates", [1, 4])
def test_noise_estimates_deviation_over_repetitions(replicates: int) -> None:
    """Curves that rise evenly, each value of each replicate off by 0.03, normally distributed."""
    rng = random.Random(0)
    among = []
    for _ in range(4000):
        own = [[0.4 + i / 10 + rng.gauss(0, 0.03) for i in range(4)] for _ in range(replicates)]
        mean = [sum(rung) / replicates for rung in zip(*own, strict=True)]
        among.append(finished(*mean, accuracies=tuple(curve[-1] for curve in own)))
    assert history(RULE, among).noise == pytest.approx(0.03 / replicates**0.5, rel=0.05)
