"""Upper limits on a student's size and latency."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from tasearch.errors import StudyError, quoted
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import Measurement


def _above_zero(limit: object, name: str) -> bool:
    """Whether a limit is above 0.

    Args:
        limit: The limit; from Python it may be any object.
        name: The argument that it comes from, for the message.

    Raises:
        StudyError: If it is not a finite number.
    """
    try:
        huge = isinstance(limit, Real) and float(limit) == math.inf
    except OverflowError:  # an int or a fraction
        huge = True
    if isinstance(limit, bool) or not isinstance(limit, Real) or huge:
        raise StudyError(f"{name}: should be a finite number, found {quoted(limit)}")
    return bool(limit > 0)  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Upper limits on a student, each inclusive; None is no limit.

    Args:
        max_params: The most parameters.
        max_bytes: The most bytes of weights and buffers.
        max_latency_ms: The highest latency, in milliseconds.

    Raises:
        StudyError: If a limit is not a finite number above 0.

    Example:
        >>> print(Budget(max_params=3_500, max_latency_ms=0.5))
        max_params = 3,500, max_latency_ms = 0.5
    """

    max_params: int | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        for limited in fields(self):
            limit = getattr(self, limited.name)
            if limit is not None and not _above_zero(limit, limited.name):
                raise StudyError(f"{limited.name}: should be above 0, found {quoted(limit)}")

    def excess(self, item: Measurement | Candidate) -> float:
        """The largest ratio of a value to its limit; at most 1 if the item fits, 0 if no limits."""
        pairs = (
            (item.params, self.max_params),
            (item.bytes, self.max_bytes),
            (item.latency_ms, self.max_latency_ms),
        )
        return max((value / limit for value, limit in pairs if limit is not None), default=0.0)

    def admits(self, item: Measurement | Candidate) -> bool:
        """Whether an item is within every limit."""
        return self.excess(item) <= 1.0

    def __str__(self) -> str:
        limits = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return ", ".join(f"{name} = {v:,}" for name, v in limits if v is not None) or "no limit"
