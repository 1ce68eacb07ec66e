"""scikit-learn's digits: 1,797 real images of 8x8 grey pixels, 10 classes, shipped with it."""

from __future__ import annotations

import numpy as np

from tasearch.config.sections import DataSection


def load(section: DataSection, root: str, progress: object = None) -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits  # most of a second, of which workers have no need

    bunch = load_digits()
    return {"x_train": bunch.images.astype(np.float32), "y_train": bunch.target}
