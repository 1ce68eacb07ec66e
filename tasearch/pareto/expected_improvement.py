"""Expected hypervolume improvement where only the accuracy of a candidate is unknown.

A module of its own, since only the search needs it, and SciPy with it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from tasearch.pareto.hypervolume import Array, HypervolumeGrid


def expected_improvement(grid: HypervolumeGrid, numbers: Array, mean: Array, sd: Array) -> Array:
    """Expected gains in hypervolume of candidates with normally distributed accuracies.

    A candidate of height y raises a cell of height h by max(0, y - h). For y ~ N(m, s²) and
    z = (m - h) / s, its expectation is (m - h) Φ(z) + s φ(z), the expected improvement of Jones et
    al. (1998). Summed over the cells in which the candidate counts, weighted with their areas, it
    is the expected hypervolume improvement (Emmerich et al., 2006) with two of three objectives
    known. It takes O(n * levels).

    Args:
        grid: The candidates that are known.
        numbers: The key in the grid's `points` of each candidate's size and latency, (n,).
        mean: The means of their accuracies, (n,).
        sd: The standard deviations of their accuracies, (n,), above 0.

    Returns:
        The expected gains as fractions of the box, (n,).
    """
    scale = grid.reference.best - grid.reference.accuracy
    found = np.zeros(len(numbers))
    for number in set(numbers.tolist()):
        levels, areas = grid.levels(number)
        chosen = numbers == number
        centre = (mean[chosen] - grid.reference.accuracy) / scale
        spread = sd[chosen] / scale
        above = centre[:, None] - levels  # (n, levels)
        z = above / spread[:, None]
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        found[chosen] = (above * ndtr(z) + spread[:, None] * density) @ areas
    return found
