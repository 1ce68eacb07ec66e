"""A counter of training progress in this process, by which other processes see that it is alive.

It increases with every optimizer step, every evaluated batch and every batch of soft targets. When
user code hangs, whatever it does, the counter stands still.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_count = 0
_waiting = 0  # number of threads that wait for another worker, which has a counter of its own


def beat() -> None:
    """Count one more piece of work."""
    global _count
    _count += 1


def count() -> int:
    """Pieces of work done so far; only a rise has a meaning, the number itself has none."""
    if _waiting:
        beat()
    return _count


def each(items: Iterable[T]) -> Iterator[T]:
    """The items; each counts as done when the next one is asked for."""
    for item in items:
        yield item
        beat()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A context in which waiting for another worker counts as progress."""
    global _waiting
    _waiting += 1
    try:
        yield
    finally:
        _waiting -= 1
