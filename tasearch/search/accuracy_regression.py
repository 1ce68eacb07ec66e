"""A Bayesian ridge regression that predicts the accuracy of students which are not trained yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import BayesianRidge

from tasearch.pareto.measurement import Measurement
from tasearch.search.candidate_pool import Array, HopCosts

MAX_STUDENTS = 2_000  # students that the regression learns from, the latest ones
PRUNED_WEIGHT = 0.25  # weight of a pruned student; a complete one has weight 1


@dataclass(frozen=True, kw_only=True)
class StartedChain:
    """A chain that has been started.

    Args:
        hops: Numbers of its hops, see `HopCosts`.
        features: Features of the chain; empty if its student is over the budget.
        ancestor: Number of the hop that teaches the student.
        width: Width of the student.
    """

    hops: list[int]
    features: list[float]
    ancestor: int
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
        measured: Size and latency by width.
        hop_costs: The hops by number.

    Attributes:
        students: Students that were trained to their last epoch, or pruned.
        hop_accuracy: Validation accuracy of hops that were trained to their last epoch, by number.
    """

    def __init__(self, measured: Mapping[int, Measurement], hop_costs: HopCosts) -> None:
        self._measured, self._hop_costs = measured, hop_costs
        self.students: list[TrainedStudent] = []
        self.hop_accuracy: dict[int, float] = {}

    @property
    def complete(self) -> list[TrainedStudent]:
        """The students that were trained to their last epoch."""
        return [student for student in self.students if student.complete]

    def fit(self) -> tuple[BayesianRidge, Array]:
        """Fit the regression.

        The final accuracy of a pruned student is estimated: its last accuracy plus the usual gain.

        Returns:
            The regression, whose inputs are the features of a chain and the accuracy of the hop
            that teaches the student; and the accuracies of all hops, shape (hops,).
        """
        students, accuracies = self.students[-MAX_STUDENTS:], self.hop_accuracies()
        gains = self._usual_gains()
        x = [[*s.chain.features, accuracies[s.chain.ancestor]] for s in students]
        y = [s.curve[-1] + (0.0 if s.complete else gains[len(s.curve) - 1]) for s in students]
        weights = [1.0 if s.complete else PRUNED_WEIGHT for s in students]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns if all accuracies are equal
            return BayesianRidge().fit(x, y, sample_weight=weights), accuracies

    def _usual_gains(self) -> Array:
        """Median gain in accuracy of complete students from each rung on, shape (rungs,)."""
        longest = max(len(student.curve) for student in self.students)
        curves = [student.curve for student in self.complete if len(student.curve) == longest]
        found = np.array(curves[-MAX_STUDENTS:])
        return np.asarray(np.median(found[:, -1:] - found, axis=0)) if curves else np.zeros(longest)

    def hop_accuracies(self) -> Array:
        """The accuracy of every hop, shape (hops,).

        A hop that is not trained receives the mean accuracy of its width; a width without trained
        hops receives an accuracy interpolated between other widths, by the logarithm of parameters.
        """
        by_width: dict[int, list[float]] = {}
        for number, accuracy in self.hop_accuracy.items():
            by_width.setdefault(self._hop_costs.widths[number], []).append(accuracy)
        known = sorted(by_width)
        means = [float(np.mean(by_width[width])) for width in known]
        size = {width: np.log(max(1, m.params)) for width, m in self._measured.items()}
        points = sorted(zip([size[width] for width in known], means, strict=True))
        x, y = [x for x, _ in points], [y for _, y in points]
        of_width = {width: float(np.interp(size[width], x, y)) for width in self._measured}
        of_width.update(zip(known, means, strict=True))
        accuracies = np.array([of_width[width] for width in self._hop_costs.widths])
        accuracies[[*self.hop_accuracy]] = [*self.hop_accuracy.values()]
        return accuracies
