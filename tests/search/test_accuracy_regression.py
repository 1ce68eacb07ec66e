"""What is predicted of accuracies, and with which uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from tasearch.pareto.reference_box import ReferenceBox
from tasearch.search import accuracy_regression
from tasearch.search.accuracy_regression import (
    EFFECTS,
    EVIDENCE,
    NOISE,
    WIDTHS,
    AccuracyRegression,
    StartedChain,
    TrainedStudent,
)

BOX = ReferenceBox(accuracy=0.1, params=(1, 100), latency_ms=(1, 100), best=1.0)
CHAINS = np.array([[1.0, 0, 0.5], [1, 0, -1], [0, 1, 0.5], [0, 1, 2]])  # two widths, one feature
NONE = np.empty((0, 3))


def trained(features: list[float], *curve: float, complete: bool = True) -> TrainedStudent:
    chain = StartedChain(hops=[0], features=features, width=2)
    return TrainedStudent(chain=chain, curve=curve, complete=complete)


def regression(*students: TrainedStudent) -> AccuracyRegression:
    made = AccuracyRegression(BOX, widths=2)
    made.students += students
    return made


def three() -> AccuracyRegression:
    ends = zip(CHAINS.tolist(), (0.6, 0.5, 0.8), strict=False)
    return regression(*(trained(features, end) for features, end in ends))


def test_nothing_known_predicts_the_middle_of_the_axis() -> None:
    mean, sd = regression().fit(3).predict(CHAINS, NONE)
    assert mean == pytest.approx(np.full(4, 0.55))
    assert (sd > 0.1).all()


def test_prediction_is_that_of_the_normal_distribution_given_the_students() -> None:
    """The same by covariances of students, with no matrix of effects."""
    mean, sd = three().fit(3).predict(CHAINS, NONE)
    prior = np.diag([WIDTHS, WIDTHS, EFFECTS])
    x, heights = CHAINS[:3], (np.array([0.6, 0.5, 0.8]) - 0.1) / 0.9
    y = np.log(heights / (1 - heights))
    inverse = np.linalg.inv(x @ prior @ x.T + np.eye(3))
    between, rest = CHAINS @ prior @ x.T, y - y.mean()
    logits = y.mean() + between @ inverse @ rest
    noise = (EVIDENCE * NOISE**2 + rest @ inverse @ rest) / (EVIDENCE + 3)
    own = np.diag(CHAINS @ prior @ CHAINS.T) + 1 - np.diag(between @ inverse @ between.T)
    expected = 1 / (1 + np.exp(-logits))
    assert mean == pytest.approx(0.1 + 0.9 * expected)
    assert sd == pytest.approx(0.9 * np.sqrt(noise * own) * expected * (1 - expected))


def test_running_chains_lower_the_uncertainty_and_no_mean() -> None:
    fit = three().fit(3)
    mean, sd = fit.predict(CHAINS, NONE)
    later, less = fit.predict(CHAINS, CHAINS[2:3])
    assert later == pytest.approx(mean)
    assert (less < sd).all()
    assert less[2] / sd[2] < less[0] / sd[0]  # most for a chain of the same width


def test_noise_follows_the_students() -> None:
    """Students of one width and recipe that differ much make all others less certain."""
    alike, spread = (
        regression(*(trained([1.0, 0, 0], end) for end in ends)).fit(3).predict(CHAINS, NONE)[1]
        for ends in ((0.6, 0.61, 0.6), (0.4, 0.8, 0.6))
    )
    assert (spread > 2 * alike).all()


def test_pruned_student_counts_less_and_with_the_usual_gain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained([1.0, 0, 0], 0.3, 0.5)
    pruned = trained([0, 1.0, 0], 0.4, complete=False)
    as_if = trained([0, 1.0, 0], 0.4, 0.6)
    chains = np.eye(3)
    monkeypatch.setattr(accuracy_regression, "PRUNED_WEIGHT", 1.0)
    same = regression(whole, pruned).fit(3).mean(chains)
    assert same == pytest.approx(regression(whole, as_if).fit(3).mean(chains))
    monkeypatch.undo()
    less = regression(whole, pruned).fit(3).predict(chains, NONE)
    more = regression(whole, as_if).fit(3).predict(chains, NONE)
    assert less[1][1] > more[1][1]


def test_perfect_and_guessing_students_are_finite() -> None:
    made = regression(trained([1.0, 0, 0], 1.0), trained([0, 1.0, 0], 0.1))
    for found in made.fit(3).predict(CHAINS, NONE):
        assert np.isfinite(found).all()
