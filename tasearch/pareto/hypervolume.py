"""Hypervolume of candidates whose sizes and latencies are known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.reference_box import ReferenceBox

Array = np.ndarray[Any, Any]


class HypervolumeGrid:
    """The best accuracy that is available at each size and latency, on a grid.

    The sizes and latencies that candidates may have divide their plane into cells. The
    cell (i, j) reaches from the i-th size to the next one and from the j-th latency to the next
    one; the last cells end with the box. Each cell holds the height of the best candidate
    that is no larger and no slower, so the hypervolume is the sum of areas times heights. Adding a
    candidate takes O(cells).

    Args:
        points: What has each size and latency that a candidate may have, by a number of its own
            (such as its width). All lie within the box.
        reference: The box in which hypervolume is measured.
    """

    def __init__(
        self, points: Mapping[int, Measurement] | Mapping[int, Candidate], reference: ReferenceBox
    ) -> None:
        corners = {number: reference.corner(item) for number, item in points.items()}
        sizes, latencies = (sorted({c[axis] for c in corners.values()}) for axis in (0, 1))
        self.reference = reference
        self._corner = {n: (sizes.index(s), latencies.index(t)) for n, (s, t) in corners.items()}
        self._area = np.outer(np.diff([*sizes, 1.0]), np.diff([*latencies, 1.0]))
        self._height = np.zeros(self._area.shape)

    @property
    def volume(self) -> float:
        """Hypervolume of all candidates that were added, as a fraction of the box."""
        return float((self._area * self._height).sum())

    def add(self, number: int, accuracy: float) -> None:
        """Take in a candidate.

        Args:
            number: The key in `points` of its size and latency.
            accuracy: Its accuracy, in 0..1.
        """
        i, j = self._corner[number]
        cells = self._height[i:, j:]
        np.maximum(cells, self.reference.height(accuracy), out=cells)

    def levels(self, number: int) -> tuple[Array, Array]:
        """The region in which a candidate counts, divided by what is available there already.

        Args:
            number: The key in `points` of its size and latency.

        Returns:
            The distinct heights of the region's cells, ascending, (levels,); and the area of the
            cells of each height, (levels,).
        """
        i, j = self._corner[number]
        heights, cell = np.unique(self._height[i:, j:], return_inverse=True)
        return heights, np.bincount(cell.ravel(), weights=self._area[i:, j:].ravel())


def hypervolume(candidates: Iterable[Candidate], reference: ReferenceBox) -> float:
    """Fraction of the box that some candidates dominate.

    Args:
        candidates: Any candidates, also outside the box, where they count nothing.
        reference: The box.

    Example:
        One student of accuracy 0.9 in the middle of both axes dominates a quarter of the plane:

        >>> box = ReferenceBox(accuracy=0.0, params=(1, 100), latency_ms=(1, 100))
        >>> student = Candidate(
        ...     trial=0, chain=(8, 2), recipe={}, accuracy=0.9, params=10, bytes=40, latency_ms=10
        ... )
        >>> round(hypervolume([student], box), 3)
        0.225
    """
    inside = [c for c in Front(candidates).members if max(reference.corner(c)) < 1]
    grid = HypervolumeGrid(dict(enumerate(inside)), reference)
    for number, candidate in enumerate(inside):
        grid.add(number, candidate.accuracy)
    return grid.volume
