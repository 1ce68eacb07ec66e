"""How fast a processor multiplies large matrices: the ceiling of what training could reach.

A product in a precision that the processor does not have is emulated and may take minutes. So the
matrices grow only as long as the next product is expected to be done in time.
"""

from __future__ import annotations

import time
from typing import Any

import torch

SIZES = (256, 512, 1024, 2048)  # rows and columns of the matrices
REPEATS = 12
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matrix_product(precision: str, threads: int, limit: float = 4.0) -> dict[str, Any]:
    """GFLOP/s of a matrix product, the best of several.

    Args:
        precision: "fp32" or "bf16".
        threads: Number of threads.
        limit: Seconds that all products of one size may take.

    Returns:
        The precision, the size of the matrices, and the GFLOP/s. The size is the largest whose
        products were expected to be done within the limit; it is never less than the first.
    """
    torch.set_num_threads(threads)
    size, best = SIZES[0], _best_time(SIZES[0], precision)
    for larger in SIZES[1:]:
        if REPEATS * best * (larger / size) ** 3 > limit:
            break
        size, best = larger, _best_time(larger, precision)
    return {"precision": precision, "size": size, "gflops": 2 * size**3 / best / 1e9}


def _best_time(size: int, precision: str) -> float:
    """Seconds of the fastest of several products."""
    a = torch.randn(size, size).to(DTYPES[precision])
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - start)
    return min(times)
