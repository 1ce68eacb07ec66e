"""The box in which hypervolume is measured: one axis for the score, two for size and latency."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import Metric

BEYOND = 1.1  # the axes of size and latency end at the largest value times this


@dataclass(frozen=True, kw_only=True)
class ReferenceBox:
    """The box in which hypervolume is measured.

    The axes of size and latency are logarithmic, as in the plots: halving a size counts as much
    among large models as among small ones.

    Args:
        accuracy: The score at which its axis begins: that of guessing.
        params: The numbers of parameters at which their axis begins and ends.
        latency_ms: The latencies at which their axis begins and ends, in milliseconds.
        best: The score at which its axis ends: that of perfect predictions.
    """

    accuracy: float
    params: tuple[float, float]
    latency_ms: tuple[float, float]
    best: float = 1.0

    @classmethod
    def from_measurements(cls, measured: Iterable[Measurement], *, metric: Metric) -> ReferenceBox:
        """The box in which every candidate of a study counts.

        Scores begin at that of guessing. Size and latency begin at the lowest that was measured
        and end a tenth beyond the highest.

        Args:
            measured: Size and latency of every width that a candidate may have.
            metric: What candidates are compared by.
        """
        listed = [*measured]
        sizes, latencies = [m.params for m in listed], [m.latency_ms for m in listed]
        return cls(
            accuracy=metric.guess,
            params=(min(sizes), BEYOND * max(sizes)),
            latency_ms=(min(latencies), BEYOND * max(latencies)),
            best=metric.best,
        )

    def corner(self, item: Measurement | Candidate) -> tuple[float, float]:
        """Where size and latency lie on their axes: 0 is the cheapest, 1 the end of the box."""
        return _position(item.params, self.params), _position(item.latency_ms, self.latency_ms)

    def height(self, accuracy: float) -> float:
        """Where a score lies on its axis, in 0..1."""
        return max(0.0, accuracy - self.accuracy) / (self.best - self.accuracy)


def _position(value: float, axis: tuple[float, float]) -> float:
    """Where a value lies on a logarithmic axis; a value below its beginning counts as 0."""
    low, high = axis
    return max(0.0, math.log(value / low) / math.log(high / low))
