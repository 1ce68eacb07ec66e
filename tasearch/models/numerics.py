"""Settings of the processor that can cost a factor of ten, or change the last bits of a result."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3), in bytes

_everywhere = False  # whether every thread of this process flushes denormals for good


def flush_denormals_everywhere() -> None:
    """Take numbers too small for full precision as zero, in all threads of this process.

    A thread has the setting of the one that starts it, so this comes before any other work.
    """
    global _everywhere
    _everywhere = True
    torch.set_flush_denormal(True)


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for this process's next allocations.

    It gives large pieces back to the system, which clears each page anew when it is touched: a
    seventh of the time of a step whose activations are 4 MB each was seen to go there. For a
    process of our own; elsewhere than in glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None) if os.name == "posix" else None, "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def rounded_up(count: int, multiple: int) -> int:
    """The least multiple that is no smaller than a count."""
    return -(-count // multiple) * multiple


@contextlib.contextmanager
def same_in_every_process() -> Iterator[None]:
    """What is computed within this does not depend on how this process was set up: there is one
    thread, in torch and in other libraries, and no small number is taken as zero.

    A sum of several threads, such as a fit of scikit-learn's, has other last bits.
    """
    threads = torch.get_num_threads()
    flushing = not float(torch.tensor(5e-324, dtype=torch.float64) * 1)
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushing)


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
