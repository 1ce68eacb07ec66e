from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasearch.skyline import Audit, Finished, Skyline, Watch

RULE = Skyline(quantile=1.0, margin=0.0, evidence=2)


def finished(*curve: float, params: int = 10, latency_ms: float = 1.0) -> Finished:
    return Finished(curve=curve, params=params, latency_ms=latency_ms)


SLOW = finished(0.1, 0.5, 0.6)
QUICK = finished(0.7, 0.8, 0.8)


def judge(rule: Skyline, *curve: float, among: list[Finished], params: int = 10):
    return rule.judge(curve, params=params, latency_ms=1.0, finished=among)


def test_a_student_stops_when_even_the_largest_gain_is_too_small() -> None:
    found = judge(RULE, 0.25, among=[SLOW, QUICK])
    assert found.reach == 0.75  # 0.25 + (0.6 - 0.1)
    assert found.skyline == 0.8
    assert found.prune
    assert not judge(RULE, 0.35, among=[SLOW, QUICK]).prune


def test_gains_are_counted_from_the_same_rung() -> None:
    found = judge(RULE, 0.25, 0.6, among=[SLOW, QUICK])
    assert found.reach is not None
    assert abs(found.reach - 0.7) < 1e-12  # 0.6 + (0.6 - 0.5)
    assert found.prune


def test_the_quantile_and_the_margin_move_the_bound() -> None:
    low = Skyline(quantile=0.5, margin=0.0, evidence=2)
    assert judge(low, 0.25, among=[SLOW, QUICK]).reach == 0.25 + (0.8 - 0.7)
    kind = Skyline(quantile=1.0, margin=0.1, evidence=2)
    assert not judge(kind, 0.25, among=[SLOW, QUICK]).prune


def test_quantiles_run_from_the_smallest_gain_to_the_largest() -> None:
    reaches = [
        judge(Skyline(quantile=q, margin=0.0, evidence=1), 0.2, among=[SLOW, QUICK]).reach
        for q in (0.0, 0.5, 0.51, 1.0)
    ]
    assert reaches == [0.2 + (0.8 - 0.7)] * 2 + [0.2 + (0.6 - 0.1)] * 2


def test_nothing_stops_without_evidence_or_without_a_smaller_rival() -> None:
    assert (
        judge(Skyline(quantile=1.0, margin=0.0, evidence=3), 0.0, among=[SLOW, QUICK]).prune
        is False
    )
    bigger = [finished(0.7, 0.8, 0.8, params=11), finished(0.7, 0.8, 0.8, latency_ms=1.1)]
    found = judge(RULE, 0.0, among=bigger)
    assert found.skyline is None
    assert not found.prune


curves = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda c: finished(*c))


@given(st.lists(curves, min_size=2, max_size=8), st.lists(st.floats(0, 1), min_size=1, max_size=2))
def test_a_student_that_could_repeat_the_best_gain_is_kept(
    among: list[Finished], curve: list[float]
) -> None:
    found = RULE.judge(curve, params=10, latency_ms=1.0, finished=among)
    gain = max(f.curve[-1] - f.curve[len(curve) - 1] for f in among)
    assert found.prune == (curve[-1] + gain < max(f.curve[-1] for f in among) - 1e-9)


def test_a_tie_with_the_skyline_is_no_reason_to_stop() -> None:
    rule = Skyline(quantile=1.0, margin=0.01, evidence=1)
    below = 0
    for start in range(90):
        for gain in range(1, 10):
            end = (start + gain + 1) / 100  # the rival began 0.01 higher and gained as much
            rival = finished((start + 1) / 100, end)
            found = judge(rule, start / 100, among=[rival])
            assert not found.prune
            below += found.reach < end
    assert below > 0  # as floats add up, some ties look like less


def test_a_watch_stops_once_and_says_why() -> None:
    watch = Watch(RULE, params=10, latency_ms=1.0, finished=[SLOW, QUICK], audited=False)
    assert watch.stops([0.25])
    assert watch.reason == "could reach 75.00% at most, below the skyline of 80.00%"
    assert watch.audit is None


def test_an_audited_student_runs_on_and_is_noted_once() -> None:
    watch = Watch(RULE, params=10, latency_ms=1.0, finished=[SLOW, QUICK], audited=True)
    assert not watch.stops([0.25])
    assert not watch.stops([0.25, 0.3])
    assert watch.audit == Audit(rung=0, reach=0.75, skyline=0.8)


def test_a_watch_without_a_rule_never_stops() -> None:
    watch = Watch(None, params=10, latency_ms=1.0, finished=[SLOW, QUICK], audited=False)
    assert not watch.stops([0.0])
