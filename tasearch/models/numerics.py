"""Settings of this process that decide its speed, or the last bits of its results.

*Denormals* are numbers too small for full precision. On many processors arithmetic with them is
more than ten times slower, so they are taken as zero ("flushed") where that is asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3), in bytes

_everywhere = False  # whether all threads of this process flush denormals for good


def flush_denormals_everywhere() -> None:
    """Flush denormals in all threads of this process, as long as it runs.

    A thread inherits the setting of the thread that starts it, so call this before any other work.
    """
    global _everywhere
    _everywhere = True
    torch.set_flush_denormal(True)


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for this process's next allocations.

    By default glibc returns large blocks to the system, which clears every page again when it is
    next used. That took a seventh of an optimizer step whose activations are 4 MB each. With other
    C libraries (macOS, Windows, musl) nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None) if os.name == "posix" else None, "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def rounded_up(count: int, multiple: int) -> int:
    """The smallest multiple that is no smaller than a count.

    >>> rounded_up(9, 4)
    12
    """
    return -(-count // multiple) * multiple


@contextlib.contextmanager
def same_in_every_process() -> Iterator[None]:
    """A context in which results do not depend on how this process was set up.

    There is one thread in torch and in other libraries, and denormals are kept. With several
    threads the last bits of a sum may differ, for example when scikit-learn fits a model.
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
    """A context with a number of threads on CPU; the former settings come back after it.

    Args:
        count: Number of threads within one operation.
        flush_denormals: Whether to flush denormals. With several threads they are kept, since the
            setting of a thread depends on which thread started it.
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
