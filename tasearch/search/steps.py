"""The steps of a preparation, which are told by their names when they begin."""

from __future__ import annotations

from collections.abc import Callable

Step = Callable[[str], None]


def no_step(name: str) -> None:
    """Tell of a step to no one."""
