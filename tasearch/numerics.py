"""Settings of the processor that can cost a factor of ten, or change the last bits of a result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def cpu_threads(count: int, *, flush_denormals: bool = False) -> Iterator[None]:
    """So many threads on CPU, and what was before put back.

    Args:
        count: of threads within one operation.
        flush_denormals: take numbers too small for full precision as zero. A setting of this
            thread alone, so it is left out with several: theirs depends on who started them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    torch.set_flush_denormal(flush_denormals and count == 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
