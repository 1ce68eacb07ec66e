"""Tensors of arrays, which may be larger than memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor on CPU that shares an array's memory, or its mapped file; only to be read."""
    return torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)
