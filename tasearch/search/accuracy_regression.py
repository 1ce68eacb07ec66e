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
EFFECTS = 0.1  # the same of the effects of other features
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
        Without any student, every prediction is the middle of the axis, with a large uncertainty.

        Args:
            features: Number of the features of a chain.
        """
        students = self.students[-MAX_STUDENTS:]
        gains = self._usual_gains()
        x = np.array([s.chain.features for s in students]).reshape(-1, features)
        ends = [s.curve[-1] + (0.0 if s.complete else gains[len(s.curve) - 1]) for s in students]
        weights = np.array([1.0 if s.complete else PRUNED_WEIGHT for s in students])
        y = self._logits(np.array(ends))
        centre = float(np.average(y, weights=weights)) if students else 0.0
        y -= centre
        scale = np.sqrt(np.where(np.arange(features) < self._widths, WIDTHS, EFFECTS))
        x = x * scale
        precision = np.eye(features) + x.T @ (weights[:, None] * x)
        right = x.T @ (weights * y)
        effects = np.linalg.solve(precision, right)
        rest = EVIDENCE * NOISE**2 + float(weights @ y**2 - right @ effects)
        return Prediction(
            scale=scale,
            precision=precision,
            effects=effects,
            centre=centre,
            noise=rest / (EVIDENCE + len(students)),
            reference=self._reference,
        )

    def _logits(self, accuracies: Array) -> Array:
        """Logits of the heights of accuracies in the box."""
        box = self._reference
        heights = np.clip((accuracies - box.accuracy) / (box.best - box.accuracy), *HEIGHTS)
        return np.asarray(np.log(heights / (1 - heights)))

    def _usual_gains(self) -> Array:
        """Median gain in accuracy of complete students from each rung on, shape (rungs,)."""
        longest = max((len(student.curve) for student in self.students), default=0)
        curves = [student.curve for student in self.complete if len(student.curve) == longest]
        found = np.array(curves[-MAX_STUDENTS:])
        return np.asarray(np.median(found[:, -1:] - found, axis=0)) if curves else np.zeros(longest)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a fitted regression says of chains.

    Args:
        scale: Factor of each feature, so that each effect has the prior variance of the noise.
        precision: Precision matrix of the effects, as a multiple of the noise's.
        effects: Their means.
        centre: The mean logit of what was learned from.
        noise: Estimated variance of a logit around its prediction.
        reference: The box whose axis of accuracies heights are of.
    """

    scale: Array
    precision: Array
    effects: Array
    centre: float
    noise: float
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
        own, others = x * self.scale, running * self.scale
        height = self._heights(x)
        precision = self.precision + others.T @ others
        spread = np.linalg.solve(np.linalg.cholesky(precision), own.T)
        sd = np.sqrt(self.noise * (1 + (spread**2).sum(axis=0))) * height * (1 - height)
        scale = self.reference.best - self.reference.accuracy
        return self.mean(x), np.fmax(scale * sd, MIN_SD)

    def mean(self, x: Array) -> Array:
        """The means alone, (chains,)."""
        box = self.reference
        return box.accuracy + (box.best - box.accuracy) * self._heights(x)

    def _heights(self, x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-((x * self.scale) @ self.effects + self.centre))))
