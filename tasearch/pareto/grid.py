"""Hypervolume where two of three objectives take few values, known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from tasearch.pareto.hypervolume import Reference
from tasearch.pareto.measurement import Measurement

Array = np.ndarray[Any, Any]


class HypervolumeGrid:
    """The best accuracy at each size and latency, as heights over a grid of the box's floor.

    A cell (i, j) of the grid lies between the i-th size and the next, the j-th latency and the
    next; a candidate lifts every cell from its own corner on to its height. Adding one takes
    O(cells), the gains of n others O(n * widths).

    Args:
        measured: of the widths that a candidate may have.
        reference: of the hypervolume.
    """

    def __init__(self, measured: Mapping[int, Measurement], reference: Reference) -> None:
        corners = {width: reference.corner(m) for width, m in measured.items()}
        sizes, latencies = (sorted({c[axis] for c in corners.values()}) for axis in (0, 1))
        self._reference = reference
        self._corner = {w: (sizes.index(s), latencies.index(t)) for w, (s, t) in corners.items()}
        self._area = np.outer(np.diff([*sizes, 1.0]), np.diff([*latencies, 1.0]))
        self._height = np.zeros(self._area.shape)

    @property
    def volume(self) -> float:
        """Hypervolume of all that were added."""
        return float((self._area * self._height).sum())

    def add(self, width: int, accuracy: float) -> None:
        i, j = self._corner[width]
        cells = self._height[i:, j:]
        np.maximum(cells, self._reference.height(accuracy), out=cells)

    def gains(self, widths: Array, mean: Array, sd: Array) -> Array:
        """Expected gains in volume of candidates whose accuracies are normally distributed.

        Args:
            widths: (n,)
            mean: of their accuracies, (n,)
            sd: of their accuracies, (n,), above 0.
        """
        scale = 1 - self._reference.accuracy
        found = np.zeros(len(widths))
        for width in set(widths.tolist()):
            i, j = self._corner[width]
            levels, cell = np.unique(self._height[i:, j:], return_inverse=True)
            areas = np.bincount(cell.ravel(), weights=self._area[i:, j:].ravel())
            chosen = widths == width
            centre = (mean[chosen] - self._reference.accuracy) / scale
            spread = sd[chosen] / scale
            above = centre[:, None] - levels  # (n, levels)
            z = above / spread[:, None]
            density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            found[chosen] = (above * ndtr(z) + spread[:, None] * density) @ areas
        return found
