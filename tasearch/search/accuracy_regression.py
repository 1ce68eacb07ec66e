"""A Bayesian linear regression that predicts the accuracy of students which are not trained yet.

Accuracies are predicted as logits of their heights in the reference box: near 1 they differ by
less than far below it, and logits differ about equally. With a conjugate prior all is in closed
form (Bishop, Pattern Recognition and Machine Learning, 2006, sections 3.3 to 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasearch.pareto.reference_box import ReferenceBox
from tasearch.search.candidate_pool import Array

MAX_STUDENTS = 2_000  # students that the regression learns from, the latest ones
PRUNED_WEIGHT = 0.25  # weight of a pruned student; a complete one has weight 1
HEIGHTS = 0.01, 0.999  # heights beyond these count as these, since their logits are infinite
NOISE = 0.1  # standard deviation of a logit around its prediction, expected before any is known
EVIDENCE = 1.0  # number of students that this expectation counts as
WIDTHS = 100.0  # variance of the mean logits of widths, as a multiple of the noise's
EFFECTS = 0.0, 0.01, 0.03, 0.1, 0.3, 1.0  # the same of the effects of other features, to choose from
MIN_SD = 1e-4  # standard deviation of a predicted accuracy


@dataclass(frozen=True, kw_only=True)
class StartedChain:
    """A chain that has been started.

    Args:
        hops: Numbers of its hops, see `HopCosts`.
        features: Features of the chain; empty if its student is over the budget.
        width: Width of the student.
    """

    hops: list[int]
    features: list[float]
    width: int


@dataclass(frozen=True, kw_only=True)
class TrainedStudent:
    """A student that the regression learns from.

    Args:
        chain: Its chain.
        curve: Validation accuracy at its rungs, 0..1.
        complete: Whether it was trained to its last epoch.
    """

    chain: StartedChain
    curve: tuple[float, ...]
    complete: bool


class AccuracyRegression:
    """The regression, and all that it learns from.

    Args:
        reference: The box whose axis of accuracies heights are of.
        widths: Number of the first features of a chain, of which the one of its student's width
            is 1 and the others are 0.

    Attributes:
        students: Students that were trained to their last epoch, or pruned.
    """

    def __init__(self, reference: ReferenceBox, widths: int) -> None:
        self._reference, self._widths = reference, widths
        self.students: list[TrainedStudent] = []

    @property
    def complete(self) -> list[TrainedStudent]:
        """The students that were trained to their last epoch."""
        return [student for student in self.students if student.complete]

    def fit(self, features: int) -> Prediction:
        """Fit the regression.

        The final accuracy of a pruned student is estimated: its last accuracy plus the usual gain.
        How much the features may explain beside the width is chosen by the evidence. Without any
        student, every prediction is the middle of the axis, with a large uncertainty.

        Args:
            features: Number of the features of a chain.
        """
        students = self.students[-MAX_STUDENTS:]
        gains = self._usual_gains()
        x = np.array([s.chain.features for s in students]).reshape(-1, features)
        ends = [s.curve[-1] + (0.0 if s.complete else gains[len(s.curve) - 1]) for s in students]
        weights = np.array([1.0 if s.complete else PRUNED_WEIGHT for s in students])
        box = self._reference
        heights = (np.array(ends) - box.accuracy) / (box.best - box.accuracy)
        heights = np.clip(heights, *HEIGHTS)
        logits = np.log(heights / (1 - heights))
        centre = float(np.average(logits, weights=weights)) if students else 0.0
        fits = []
        for effects in EFFECTS:
            variances = np.where(np.arange(features) < self._widths, WIDTHS, effects)
            fits.append(_fit(np.sqrt(variances), x, logits - centre, weights))
        best = max(fits, key=lambda fit: fit.evidence)
        return Prediction(fit=best, centre=centre, reference=box)

    def _usual_gains(self) -> Array:
        """Median gain in accuracy of complete students from each rung on, shape (rungs,)."""
        longest = max((len(student.curve) for student in self.students), default=0)
        curves = [student.curve for student in self.complete if len(student.curve) == longest]
        found = np.array(curves[-MAX_STUDENTS:])
        return np.asarray(np.median(found[:, -1:] - found, axis=0)) if curves else np.zeros(longest)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The posterior of the weights of scaled features, with one choice of their prior.

    Args:
        scale: Factor of each feature, so that each weight has the prior variance of the noise.
        precision: Precision matrix of the weights, as a multiple of the noise's.
        weights: Their means.
        noise: Estimated variance of the noise.
        evidence: Logarithm of the marginal likelihood, up to a constant.
    """

    scale: Array
    precision: Array
    weights: Array
    noise: float
    evidence: float


def _fit(scale: Array, x: Array, y: Array, weights: Array) -> _Fit:
    """Fit weights with a normal prior and noise with an inverse gamma prior.

    Args:
        scale: Prior standard deviation of each feature's effect over the noise's, (features,).
        x: Features, (students, features).
        y: What is predicted, (students,).
        weights: Weight of each student, (students,).
    """
    x = x * scale
    precision = np.eye(len(scale)) + x.T @ (weights[:, None] * x)
    right = x.T @ (weights * y)
    means = np.linalg.solve(precision, right)
    rest = EVIDENCE * NOISE**2 + float(weights @ y**2 - right @ means)
    count = EVIDENCE + len(y)
    determinant = float(np.linalg.slogdet(precision)[1])
    return _Fit(
        scale=scale,
        precision=precision,
        weights=means,
        noise=rest / count,
        evidence=-0.5 * (determinant + count * np.log(rest)),
    )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a fitted regression says of chains.

    Args:
        fit: The fit.
        centre: What was subtracted from logits.
        reference: The box whose axis of accuracies heights are of.
    """

    fit: _Fit
    centre: float
    reference: ReferenceBox

    def predict(self, x: Array, running: Array) -> tuple[Array, Array]:
        """The accuracies of chains if they were trained.

        Running chains make others less uncertain, whatever their accuracies will be: so several
        trials at a time do not pursue the same.

        Args:
            x: Features of the chains, (chains, features).
            running: Features of the running chains, (running chains, features).

        Returns:
            Means, and standard deviations with the noise of a training, each (chains,).
        """
        own, others = x * self.fit.scale, running * self.fit.scale
        height = self._heights(x)
        precision = self.fit.precision + others.T @ others
        spread = np.linalg.solve(np.linalg.cholesky(precision), own.T)
        sd = np.sqrt(self.fit.noise * (1 + (spread**2).sum(axis=0))) * height * (1 - height)
        scale = self.reference.best - self.reference.accuracy
        return self.mean(x), np.fmax(scale * sd, MIN_SD)

    def mean(self, x: Array) -> Array:
        """The means alone, (chains,)."""
        box = self.reference
        return box.accuracy + (box.best - box.accuracy) * self._heights(x)

    def _heights(self, x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-(x * self.fit.scale @ self.fit.weights + self.centre))))
