"""A count of what training has done in this process, by which others see that it goes on.

It rises with every step, every batch that is evaluated and every batch of soft targets: a hang in
a user's code, whatever it is, leaves it as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_count = 0
_waiting = 0  # threads that wait for another worker, whose own count is watched


def beat() -> None:
    """Something is done."""
    global _count
    _count += 1


def count() -> int:
    """What is done so far, in a number that only rises."""
    if _waiting:
        beat()
    return _count


def each(items: Iterable[T]) -> Iterator[T]:
    """The items; each is counted when the next one is asked for."""
    for item in items:
        yield item
        beat()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Within this, a wait for another worker counts as progress."""
    global _waiting
    _waiting += 1
    try:
        yield
    finally:
        _waiting -= 1
