"""Hypervolume of a set of candidates, in a box with logarithmic axes for the costs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.measurement import Measurement

BEYOND = 1.1  # times the largest cost: the end of hypervolume's axes


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The box that hypervolume is measured in; its costs are on logarithmic axes, as in the plots:
    a halved size counts alike among the large and among the small.

    Args:
        accuracy: from here to 1.
        params: from the first to the second.
        latency_ms: from the first to the second.
    """

    accuracy: float
    params: tuple[float, float]
    latency_ms: tuple[float, float]

    @classmethod
    def from_measurements(cls, measured: Iterable[Measurement], *, classes: int) -> Reference:
        """From guessing, and from the smallest and the fastest, to a tenth beyond the largest and
        the slowest, so that every candidate counts."""
        listed = [*measured]
        sizes, latencies = [m.params for m in listed], [m.latency_ms for m in listed]
        return cls(
            accuracy=1 / classes,
            params=(min(sizes), BEYOND * max(sizes)),
            latency_ms=(min(latencies), BEYOND * max(latencies)),
        )

    def corner(self, item: Measurement | Candidate) -> tuple[float, float]:
        """Where a size and a latency lie on their axes: 0 is the cheapest, 1 the box's end."""
        return _along(item.params, self.params), _along(item.latency_ms, self.latency_ms)

    def height(self, accuracy: float) -> float:
        """Where an accuracy lies on its axis, 0..1."""
        return max(0.0, accuracy - self.accuracy) / (1 - self.accuracy)


def _along(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return max(0.0, math.log(value / low) / math.log(high / low))


def hypervolume(candidates: Iterable[Candidate], reference: Reference) -> float:
    """Share of the box that the candidates dominate.

    A sweep over latency with a staircase in (params, accuracy): O(n²).
    """
    points = []
    for c in Front(candidates).members:
        size, latency = reference.corner(c)
        if size < 1 and latency < 1:
            points.append((latency, size, reference.height(c.accuracy)))
    points.sort()
    volume = 0.0
    for i, (latency, _, _) in enumerate(points):
        until = points[i + 1][0] if i + 1 < len(points) else 1.0
        volume += (until - latency) * _area([(p, a) for _, p, a in points[: i + 1]])
    return volume


def _area(points: list[tuple[float, float]]) -> float:
    """Area that (cost, gain) points dominate in the unit square."""
    area, gain = 0.0, 0.0
    steps = sorted(points)
    for i, (cost, value) in enumerate(steps):
        gain = max(gain, value)
        until = steps[i + 1][0] if i + 1 < len(steps) else 1.0
        area += (until - cost) * gain
    return area
