"""How values of a metric are told."""

from __future__ import annotations

import math

import pytest

from tasearch.pareto.metric import ACCURACY, metric_of
from tasearch.pareto.skyline import PruningDecision, reason

NLL = metric_of("nll", 10)
MINE = metric_of("mine:cost", 10, (-4.0, 0.0))


@pytest.mark.parametrize(
    ("name", "guess", "best", "proportion"),
    [
        ("accuracy", 0.25, 1.0, True),
        ("balanced-accuracy", 0.25, 1.0, False),
        ("macro-f1", 0.25, 1.0, False),
        ("auc", 0.5, 1.0, False),
        ("top-3", 0.75, 1.0, True),
        ("nll", -math.log(4), 0.0, False),
    ],
)
def test_scores_range_from_guessing_to_perfect(
    name: str, guess: float, best: float, proportion: bool
) -> None:
    metric = metric_of(name, 4)
    assert (metric.guess, metric.best, metric.proportion) == (guess, best, proportion)
    assert metric.near_chance(guess) and not metric.near_chance(best)


@pytest.mark.parametrize(
    ("name", "classes", "score", "near"),
    [
        ("accuracy", 2, 0.748, False),
        ("accuracy", 2, 0.54, True),
        ("balanced-accuracy", 2, 0.6, False),
        ("auc", 4, 0.54, True),
        ("auc", 4, 0.7, False),
        ("accuracy", 10, 0.14, True),
        ("accuracy", 10, 0.2, False),
        ("accuracy", 100, 0.014, True),
        ("accuracy", 100, 0.05, False),
    ],
)
def test_near_chance_is_a_tenth_of_the_way_at_most(
    name: str, classes: int, score: float, near: bool
) -> None:
    assert metric_of(name, classes).near_chance(score) is near


def test_shares_are_told_in_percent_and_points() -> None:
    assert ACCURACY.text(0.9321) == "93.2%"
    assert ACCURACY.difference_words(0.0131) == "+1.3 points"
    assert ACCURACY.difference(-0.0001) == "0.0"
    assert ACCURACY.range(0.97, 0.991) == "97.0 to 99.1"
    assert ACCURACY.difference_range(-0.01, 0.02) == "-1.0 to +2.0"
    assert ACCURACY.size(-0.01, "less", "more") == "1.0 points less"


def test_likelihood_is_told_with_its_own_sign() -> None:
    """A higher score is a lower negative log-likelihood."""
    assert NLL.text(-0.31274) == "0.3127"
    assert NLL.named(-0.5) == "negative log-likelihood 0.5"
    assert NLL.difference_words(0.0131) == "-0.0131 nats"
    assert NLL.range(-0.4, -0.2) == "0.2 to 0.4"
    assert NLL.difference_range(-0.01, 0.02) == "-0.02 to +0.01"
    assert NLL.size(0.01, "less", "more") == "0.01 nats less"
    assert NLL.clipped(0.3) == 0.0


def test_own_metric_is_told_as_a_number() -> None:
    assert MINE.of(-1.25, "the test part") == "cost -1.25 on the test part"
    assert MINE.titled("gain") == "gain" and MINE.difference_words(0.5) == "+0.5"
    assert (MINE.guess, MINE.best) == (-4.0, 0.0)


def test_reason_of_pruning_has_the_sign_of_the_metric() -> None:
    assert reason(PruningDecision(rung=1, reach=0.5, skyline=0.75)) == (
        "could reach 50.00% at most, below the skyline of 75.00%"
    )
    assert reason(PruningDecision(rung=1, reach=-0.5, skyline=-0.25), NLL) == (
        "could reach a negative log-likelihood of 0.5 at least, above the skyline of 0.25"
    )
