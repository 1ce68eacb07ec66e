"""Statistics of samples: their moments, and whether they are whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

CHUNK = 256  # samples whose uint32 copies fit into the processor's cache


def is_whole(x: np.ndarray) -> bool:
    """Whether all samples consist of whole numbers.

    Args:
        x: Samples, of integers or float32 (samples, ...).
    """
    return x.dtype != np.float32 or all(np.array_equal(one, np.rint(one)) for one in x)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel or feature, float64, broadcastable to one sample.

    Sums over uint8 samples are exact integers, some samples at a time, so that no copy of all
    samples in a wider dtype is needed.

    Args:
        x: Samples, (samples, channels, height, width) or (samples, features).
    """
    axes = (0, *range(2, x.ndim))
    if x.dtype != np.uint8:
        return (
            x.mean(axis=axes, dtype=np.float64, keepdims=True)[0],
            x.std(axis=axes, dtype=np.float64, keepdims=True)[0],
        )
    count = x.size // x.shape[1]
    total: Any = 0
    squares: Any = 0
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK].astype(np.uint32)
        total += part.sum(axis=axes, dtype=np.uint64, keepdims=True)[0]
        part *= part
        squares += part.sum(axis=axes, dtype=np.uint64, keepdims=True)[0]
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
