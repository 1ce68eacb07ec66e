from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tasearch.pareto.skyline import (
    FinishedStudent,
    PruningDecision,
    StoppingCriterion,
    Threshold,
    lowest,
    reason,
)
from tests.helpers.students import QUICK, RULE, SLOW, finished, history, thresholds


def test_criterion_stops_at_first_failed_rung_and_says_why() -> None:
    criterion = StoppingCriterion(thresholds=thresholds(RULE, [SLOW, QUICK]), audited=False)
    assert criterion.binding == criterion.thresholds
    assert criterion.decision([]) is None
    assert criterion.decision([0.35]) is None
    stop = criterion.decision([0.25])
    assert stop == PruningDecision(rung=0, reach=0.75, skyline=0.8)
    assert criterion.decision([0.25, 0.3, 0.9]) == stop
    assert reason(stop) == "could reach 75.00% at most, below the skyline of 80.00%"
    later = criterion.decision([0.35, 0.6])
    assert later is not None
    assert later.rung == 1


def test_criterion_reports_audited_student_once_without_stopping() -> None:
    criterion = StoppingCriterion(thresholds=thresholds(RULE, [SLOW, QUICK]), audited=True)
    assert criterion.binding == ()
    for end in (1, 2, 3):
        assert criterion.decision([0.25, 0.3, 0.9][:end]) == PruningDecision(
            rung=0, reach=0.75, skyline=0.8
        )


def test_criterion_without_thresholds_never_stops() -> None:
    for unknown, audited in itertools.product(((), (None, None)), (False, True)):
        criterion = StoppingCriterion(thresholds=unknown, audited=audited)
        assert criterion.decision([0.0, 0.0, 0.0]) is None


ONE = replace(RULE, n_startup_trials=1)


def with_assistant(*curve: float, assistants: tuple[float, ...]) -> FinishedStudent:
    return replace(finished(*curve), assistants=assistants)


def test_thresholds_of_assistant_add_largest_lead() -> None:
    among = [with_assistant(0.1, 0.5, 0.6, assistants=(0.9, 0.55)), QUICK]
    found = history(ONE, among).thresholds(3, params=10, latency_ms=1.0, assistant=True)
    lead = 0.6 - 0.55
    for threshold, gain in zip(found, (0.5, 0.1, 0.0), strict=True):
        assert threshold is not None
        assert threshold.skyline == 0.8
        assert threshold.gain == pytest.approx(gain + lead)
    criterion = StoppingCriterion(thresholds=found, audited=False)
    assert criterion.decision([0.2]) == PruningDecision(
        rung=0, reach=pytest.approx(0.75), skyline=0.8
    )
    assert criterion.decision([0.3, 0.7, 0.76]) is None
    last = criterion.decision([0.3, 0.7, 0.74])
    assert last is not None
    assert last.rung == 2


def test_student_behind_its_assistants_adds_no_lead() -> None:
    among = [with_assistant(0.1, 0.5, 0.6, assistants=(0.9, 0.7)), QUICK]
    student, assistant = (
        history(ONE, among).thresholds(3, params=10, latency_ms=1.0, assistant=kind)
        for kind in (False, True)
    )
    assert assistant[:-1] == student


@pytest.mark.parametrize("chains", [0, 1, 2, 3])
def test_rule_stops_no_assistant_without_enough_finished_chains(chains: int) -> None:
    among = [SLOW, QUICK, *[replace(QUICK, assistants=(0.9,))] * chains]
    found = history(RULE, among).thresholds(3, params=10, latency_ms=1.0, assistant=True)
    assert [threshold is not None for threshold in found] == [chains >= RULE.n_startup_trials] * 3


def test_shared_hop_stops_only_where_it_would_for_all() -> None:
    high, low = (Threshold(gain=0.1, margin=0.0, skyline=s) for s in (0.8, 0.5))
    assert lowest([(high, high), (low, high, high)]) == (low, high)
    assert lowest([(high, high), (low, None)]) == (low, None)
    assert lowest([(high, high), ()]) == ()
    assert lowest([(high,)]) == (high,)
