"""Settings of the processor that can cost a factor of ten, or change the last bits of a result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_everywhere = False  # whether every thread of this process flushes denormals for good


def flush_denormals_everywhere() -> None:
    """Take numbers too small for full precision as zero, in all threads of this process.

    A thread has the setting of the one that starts it, so this comes before any other work.
    """
    global _everywhere
    _everywhere = True
    torch.set_flush_denormal(True)


@contextlib.contextmanager
def cpu_threads(count: int, *, flush_denormals: bool = False) -> Iterator[None]:
    """So many threads on CPU, and what was before put back.

    Args:
        count: of threads within one operation.
        flush_denormals: take numbers too small for full precision as zero. Left out with several
            threads, for theirs would depend on who started them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    if not _everywhere:
        torch.set_flush_denormal(flush_denormals and count == 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if not _everywhere:
            torch.set_flush_denormal(False)
