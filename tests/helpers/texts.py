"""Small studies of made-up texts of token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasearch.config.study import Study
from tests.helpers.arrays import npz
from tests.helpers.studies import tiny

SIZES = [
    {"name": "l", "width": 32, "layers": 2, "heads": 4, "feed_forward": 64},
    {"name": "m", "width": 32, "layers": 1, "heads": 2},
    {"name": "s", "width": 16, "layers": 1, "norm": "post", "pooling": "cls"},
]


def text_study(folder: Path, **sections: Any) -> Study:
    """A study of texts of up to eight words; the class is which of three words is in a text."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.integers(4, 30, (240, 8))
    x[np.arange(240), rng.integers(0, 3, 240)] = 1 + y
    for row, length in zip(x, rng.integers(3, 9, 240), strict=True):
        row[length:] = 0
    npz(folder, x_train=x, y_train=y)
    content = {
        "model": {"family": "transformer", "sizes": SIZES},
        "data": {"source": "npz", "path": "d.npz", "standardize": False},
        "teacher": {"width": "l", "epochs": 12, "learning_rate": 0.01},
        "assistants": {"widths": ["m"], "max": 1, "epochs": 12},
        "student": {"widths": ["m", "s"], "epochs": 12},
        "latency": {"backend": "onnx"},
        "search": {"trials": 3, "rungs": 2},
    }
    return tiny(**{**content, **sections}).model_copy(update={"root": str(folder)})
