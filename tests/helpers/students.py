"""Finished students, and the thresholds that follow from them."""

from __future__ import annotations

from tasearch.pareto.skyline import FinishedStudent, PruningRule, StudentHistory, Thresholds

RULE = PruningRule(gain_quantile=1.0, noise_margin=0.0, n_startup_trials=2)


def finished(
    *curve: float, params: int = 10, latency_ms: float = 1.0, accuracies: tuple[float, ...] = ()
) -> FinishedStudent:
    """A student with this curve, without assistants."""
    return FinishedStudent(
        curve=curve, accuracies=accuracies or curve[-1:], params=params, latency_ms=latency_ms
    )


SLOW = finished(0.1, 0.5, 0.6)
QUICK = finished(0.7, 0.8, 0.8)


def history(rule: PruningRule, among: list[FinishedStudent]) -> StudentHistory:
    """The history of some students."""
    found = StudentHistory(rule)
    for student in among:
        found.add(student)
    return found


def thresholds(
    rule: PruningRule,
    among: list[FinishedStudent],
    *,
    rungs: int = 3,
    params: int = 10,
    latency_ms: float = 1.0,
) -> Thresholds:
    """The thresholds of a student, after some others have finished."""
    return history(rule, among).thresholds(rungs, params=params, latency_ms=latency_ms)
