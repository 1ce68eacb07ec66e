"""What simple guesses reach on the validation set, for a teacher to be compared with."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tasearch.data.arrays import Dataset, Split

SAMPLES = 10_000  # of each set
FEATURES = 4_096  # of a sample


class Guesses:
    """The simple guesses of a data set, each made once, when it is first asked for.

    Args:
        data: The data set.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data

    @cached_property
    def majority(self) -> float:
        """What `majority_guess` reaches."""
        return majority_guess(self._data)

    @cached_property
    def linear(self) -> float:
        """What `linear_guess` reaches."""
        return linear_guess(self._data)


def majority_guess(data: Dataset) -> float:
    """Accuracy of the most frequent class of the training set on the validation set."""
    return float((data.validation.y == np.bincount(data.train.y).argmax()).mean())


def linear_guess(data: Dataset) -> float:
    """Accuracy on the validation set of the nearest mean of a class, which is a linear classifier.

    Of large data sets and samples, evenly spaced parts are used.
    """
    x, y = _some(data.train)
    scale = x.std(axis=0) + 1e-8
    of_class = np.eye(data.num_classes, dtype=np.float32)[y]
    counts = of_class.sum(axis=0)
    means = of_class.T @ (x / scale) / np.maximum(counts, 1)[:, None]
    offsets = (means**2).sum(axis=1) / 2 + np.where(counts, 0, np.inf)
    x, y = _some(data.validation)
    return float((((x / scale) @ means.T - offsets).argmax(axis=1) == y).mean())


def _some(part: Split) -> tuple[np.ndarray, np.ndarray]:
    """Samples, float32 (samples, features), and their labels."""
    rows = slice(None, None, -(-len(part) // SAMPLES))
    flat = part.x[rows].reshape(-1, part.x[0].size)
    return flat[:, :: -(-flat.shape[1] // FEATURES)].astype(np.float32), part.y[rows]
