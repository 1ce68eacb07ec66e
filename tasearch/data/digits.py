"""The digits of scikit-learn: 1,797 grey images of 8x8 pixels in 10 classes, no download."""

from __future__ import annotations

import numpy as np

from tasearch.config.data_section import DataSection


def load(
    section: DataSection, root: str, progress: object = None, warn: object = None
) -> dict[str, np.ndarray]:
    """The source "digits"."""
    from sklearn.datasets import load_digits  # takes most of a second; workers need none of it

    bunch = load_digits()
    return {"x_train": bunch.images.astype(np.float32), "y_train": bunch.target}
