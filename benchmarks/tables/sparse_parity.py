"""Sparse parities: the label is the parity of a few bits among many.

No smaller set of bits says anything on the label, so a model finds all of them or stays at chance.
A teacher that is just finding them tells in its outputs which bits count; labels do not
(Panigrahi et al., arXiv 2410.05464).
"""

from __future__ import annotations

import numpy as np

BITS = 40
RELEVANT = 5
TRAIN, VALIDATION, TEST = 40_000, 5_000, 5_000


def load() -> dict[str, np.ndarray]:
    """Random rows of `BITS` values, -1 or 1; the label is the parity of the first `RELEVANT`."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        bits = random.integers(0, 2, size=(rows, BITS))
        arrays[f"x_{part}"] = (2 * bits - 1).astype(np.float32)
        arrays[f"y_{part}"] = bits[:, :RELEVANT].sum(axis=1) % 2
    return arrays
