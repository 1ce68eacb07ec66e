from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from statistics import variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.pareto.skyline import (
    ROUNDING,
    Audit,
    FinishedStudent,
    Skyline,
    StudentHistory,
    Threshold,
    Thresholds,
    Watch,
    lowest,
    reason,
)

RULE = Skyline(gain_quantile=1.0, noise_margin=0.0, n_startup_trials=2)


def finished(
    *curve: float, params: int = 10, latency_ms: float = 1.0, accuracies: tuple[float, ...] = ()
) -> FinishedStudent:
    return FinishedStudent(
        curve=curve, accuracies=accuracies or curve[-1:], params=params, latency_ms=latency_ms
    )


SLOW = finished(0.1, 0.5, 0.6)
QUICK = finished(0.7, 0.8, 0.8)


def evidence(rule: Skyline, among: list[FinishedStudent]) -> StudentHistory:
    found = StudentHistory(rule)
    for student in among:
        found.add(student)
    return found


def thresholds(
    rule: Skyline,
    among: list[FinishedStudent],
    *,
    rungs: int = 3,
    params: int = 10,
    latency_ms: float = 1.0,
) -> Thresholds:
    return evidence(rule, among).thresholds(rungs, params=params, latency_ms=latency_ms)


def test_a_student_stops_when_even_the_largest_gain_is_too_small() -> None:
    threshold = thresholds(RULE, [SLOW, QUICK])[0]
    assert threshold == Threshold(gain=0.6 - 0.1, margin=0.0, skyline=0.8)
    assert threshold.reach(0.25) == 0.75
    assert threshold.stops(0.25)
    assert not threshold.stops(0.35)


def test_gains_are_counted_from_the_same_rung() -> None:
    threshold = thresholds(RULE, [SLOW, QUICK])[1]
    assert threshold is not None
    assert threshold.reach(0.6) == pytest.approx(0.6 + (0.6 - 0.5))
    assert threshold.stops(0.6)
    assert len(thresholds(RULE, [SLOW, QUICK])) == 2  # the last rung has nothing to hope for


def test_the_quantile_and_the_margin_move_the_bound() -> None:
    low = thresholds(
        Skyline(gain_quantile=0.5, noise_margin=0.0, n_startup_trials=2), [SLOW, QUICK]
    )[0]
    assert low is not None
    assert low.reach(0.25) == 0.25 + (0.8 - 0.7)
    kind = thresholds(
        Skyline(gain_quantile=1.0, noise_margin=2.0, n_startup_trials=2), [SLOW, QUICK]
    )[0]
    assert kind is not None
    assert kind.margin == 2 * evidence(RULE, [SLOW, QUICK]).noise > 0.05
    assert not kind.stops(0.25)


def test_quantiles_run_from_the_smallest_gain_to_the_largest() -> None:
    gains = [
        threshold.gain
        for q in (0.0, 0.5, 0.51, 1.0)
        if (
            threshold := thresholds(
                Skyline(gain_quantile=q, noise_margin=0.0, n_startup_trials=1), [SLOW, QUICK]
            )[0]
        )
    ]
    assert gains == [0.8 - 0.7] * 2 + [0.6 - 0.1] * 2


def test_nothing_stops_without_evidence_or_without_a_smaller_rival() -> None:
    strict = Skyline(gain_quantile=1.0, noise_margin=0.0, n_startup_trials=3)
    assert thresholds(strict, [SLOW, QUICK]) == (None, None)
    assert thresholds(strict, [SLOW, QUICK, finished(0.1, 0.2)]) == (None, None)  # of other rungs
    assert (
        thresholds(RULE, [])
        == thresholds(Skyline(gain_quantile=0.0, noise_margin=0.0, n_startup_trials=1), [])
        == (None,) * 2
    )
    bigger = [finished(0.7, 0.8, 0.8, params=11), finished(0.7, 0.8, 0.8, latency_ms=1.1)]
    assert evidence(RULE, bigger).skyline(params=10, latency_ms=1.0) is None
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
    Skyline, gain_quantile=shares, noise_margin=st.floats(0, 4), n_startup_trials=st.integers(1, 4)
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
def test_bars_are_those_of_the_list_of_finished_students(
    rule: Skyline, among: list[FinishedStudent], rungs: int
) -> None:
    ends = [f.curve[-1] for f in among if f.params <= 10 and f.latency_ms <= 1.0]
    alike = [f for f in among if len(f.curve) == rungs]
    found = thresholds(rule, among, rungs=rungs)
    assert evidence(rule, among).skyline(params=10, latency_ms=1.0) == max(ends, default=None)
    assert evidence(rule, among).noise == pytest.approx(noise_of(among))
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
def test_the_order_of_students_does_not_matter(
    rule: Skyline, among: list[FinishedStudent], rng: random.Random
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
def test_a_larger_quantile_or_margin_never_stops_more(
    rule: Skyline, among: list[FinishedStudent], quantile: float, margin: float, curve: list[float]
) -> None:
    kinder = Skyline(
        gain_quantile=max(rule.gain_quantile, quantile),
        noise_margin=max(rule.noise_margin, margin),
        n_startup_trials=rule.n_startup_trials,
    )
    strict = Watch(thresholds=thresholds(rule, among, rungs=4), audited=False).stop(curve)
    kind = Watch(thresholds=thresholds(kinder, among, rungs=4), audited=False).stop(curve)
    assert kind is None or (strict is not None and strict.rung <= kind.rung)


alike = students(rungs=(3,)).map(lambda f: finished(*f.curve))


@given(st.lists(alike, min_size=2, max_size=8), st.lists(shares, min_size=1, max_size=2))
def test_a_student_that_could_repeat_the_best_gain_is_kept(
    among: list[FinishedStudent], curve: list[float]
) -> None:
    threshold = thresholds(RULE, among)[len(curve) - 1]
    gain = max(f.curve[-1] - f.curve[len(curve) - 1] for f in among)
    assert threshold is not None
    assert threshold.stops(curve[-1]) == (
        curve[-1] + gain < max(f.curve[-1] for f in among) - ROUNDING
    )


def test_a_tie_with_the_skyline_is_no_reason_to_stop() -> None:
    rule = Skyline(gain_quantile=1.0, noise_margin=1.0, n_startup_trials=1)
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


# Noise


def test_noise_of_replicates_is_that_of_their_mean() -> None:
    found = evidence(RULE, [finished(0.1, 0.2, accuracies=(0.1, 0.3))])
    assert found.noise == pytest.approx(math.sqrt(0.02 / 2))
    found.add(finished(0.1, 0.5, accuracies=(0.5, 0.5)))
    assert found.noise == pytest.approx(math.sqrt(0.01 / 2))  # variances are averaged


def test_noise_of_single_ones_is_how_their_curves_bend_at_the_end() -> None:
    assert evidence(RULE, [finished(0.9, 0.5, 0.6, 0.6)]).noise == pytest.approx(0.1 / 6**0.5)
    assert evidence(RULE, [finished(0.9, 0.5, 0.6, 0.7)]).noise == pytest.approx(0.0)
    assert evidence(RULE, [finished(0.5, 0.9)]).noise == 0.0  # too short to bend
    assert evidence(RULE, []).noise == 0.0


@pytest.mark.parametrize("replicates", [1, 4])
def test_noise_is_the_deviation_of_a_final_accuracy_over_repetitions(replicates: int) -> None:
    """Curves that rise evenly, each value of each replicate off by 0.03, normally distributed."""
    rng = random.Random(0)
    among = []
    for _ in range(4000):
        own = [[0.4 + i / 10 + rng.gauss(0, 0.03) for i in range(4)] for _ in range(replicates)]
        mean = [sum(rung) / replicates for rung in zip(*own, strict=True)]
        among.append(finished(*mean, accuracies=tuple(curve[-1] for curve in own)))
    assert evidence(RULE, among).noise == pytest.approx(0.03 / replicates**0.5, rel=0.05)


# Watching one student


def test_a_watch_stops_at_the_first_such_rung_and_says_why() -> None:
    watch = Watch(thresholds=thresholds(RULE, [SLOW, QUICK]), audited=False)
    assert watch.binding == watch.thresholds
    assert watch.stop([]) is None
    assert watch.stop([0.35]) is None
    stop = watch.stop([0.25])
    assert stop == Audit(rung=0, reach=0.75, skyline=0.8)
    assert watch.stop([0.25, 0.3, 0.9]) == stop
    assert reason(stop) == "could reach 75.00% at most, below the skyline of 80.00%"
    later = watch.stop([0.35, 0.6])
    assert later is not None
    assert later.rung == 1


# Assistants


ONE = replace(RULE, n_startup_trials=1)


def with_assistant(*curve: float, assistants: tuple[float, ...]) -> FinishedStudent:
    return replace(finished(*curve), assistants=assistants)


def test_an_assistant_stops_when_no_student_could_be_far_enough_ahead_of_it() -> None:
    among = [with_assistant(0.1, 0.5, 0.6, assistants=(0.9, 0.55)), QUICK]
    found = evidence(ONE, among).thresholds(3, params=10, latency_ms=1.0, assistant=True)
    lead = 0.6 - 0.55
    for threshold, gain in zip(found, (0.5, 0.1, 0.0), strict=True):
        assert threshold is not None
        assert threshold.skyline == 0.8
        assert threshold.gain == pytest.approx(gain + lead)
    watch = Watch(thresholds=found, audited=False)
    assert watch.stop([0.2]) == Audit(rung=0, reach=pytest.approx(0.75), skyline=0.8)
    assert watch.stop([0.3, 0.7, 0.76]) is None
    last = watch.stop([0.3, 0.7, 0.74])
    assert last is not None
    assert last.rung == 2


def test_a_student_that_is_behind_gives_no_lead() -> None:
    among = [with_assistant(0.1, 0.5, 0.6, assistants=(0.9, 0.7)), QUICK]
    student, assistant = (
        evidence(ONE, among).thresholds(3, params=10, latency_ms=1.0, assistant=kind)
        for kind in (False, True)
    )
    assert assistant[:-1] == student


@pytest.mark.parametrize("behind", [0, 1, 2, 3])
def test_no_assistant_stops_before_enough_students_behind_one_have_ended(behind: int) -> None:
    among = [SLOW, QUICK, *[replace(QUICK, assistants=(0.9,))] * behind]
    found = evidence(RULE, among).thresholds(3, params=10, latency_ms=1.0, assistant=True)
    assert [threshold is not None for threshold in found] == [behind >= RULE.n_startup_trials] * 3


def test_a_hop_that_several_want_stops_only_where_it_would_for_all() -> None:
    high, low = (Threshold(gain=0.1, margin=0.0, skyline=s) for s in (0.8, 0.5))
    assert lowest([(high, high), (low, high, high)]) == (low, high)
    assert lowest([(high, high), (low, None)]) == (low, None)
    assert lowest([(high, high), ()]) == ()
    assert lowest([(high,)]) == (high,)


def test_an_audited_student_runs_on_and_is_noted_once() -> None:
    watch = Watch(thresholds=thresholds(RULE, [SLOW, QUICK]), audited=True)
    assert watch.binding == ()
    for end in (1, 2, 3):
        assert watch.stop([0.25, 0.3, 0.9][:end]) == Audit(rung=0, reach=0.75, skyline=0.8)


def test_a_watch_without_bars_never_stops() -> None:
    for unknown, audited in itertools.product(((), (None, None)), (False, True)):
        watch = Watch(thresholds=unknown, audited=audited)
        assert watch.stop([0.0, 0.0, 0.0]) is None
