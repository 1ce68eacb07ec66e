"""A random forest as a teacher on digits: writes its probabilities beside the samples.

    python studies/forest/make.py          write studies/forest/digits.npz
    python studies/forest/make.py OUT.npz  write another file

A forest knows the samples that it was fitted on by heart, and would teach little more than their
labels. So the training samples get out-of-bag probabilities: each from the trees that have not seen
it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

TREES = 300


def arrays() -> dict[str, np.ndarray]:
    """Samples, labels and the forest's probabilities of the three parts."""
    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    forest = RandomForestClassifier(TREES, oob_score=True, random_state=0).fit(_flat(x), y)
    return {
        **{"x_train": x, "y_train": y, "teacher_train": forest.oob_decision_function_},
        **{"x_val": x_val, "y_val": y_val, "teacher_val": forest.predict_proba(_flat(x_val))},
        **{"x_test": x_test, "y_test": y_test, "teacher_test": forest.predict_proba(_flat(x_test))},
    }


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


if __name__ == "__main__":
    own = Path(__file__).with_name("digits.npz")
    np.savez(Path(sys.argv[1]) if len(sys.argv) > 1 else own, **arrays())
