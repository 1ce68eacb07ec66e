"""Candidates, budgets and the Pareto front of accuracy against size and latency. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from statistics import median
from typing import Any

from tasearch.chain import label
from tasearch.errors import NothingFits, StudyError, quoted
from tasearch.rounds import Rounds

BEYOND = 1.1  # times the largest cost: the end of hypervolume's axes


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one width costs to run; fixed before anything is trained.

    Args:
        width: the rung of the ladder.
        params: numbers in all its parameters.
        bytes: of all weights and buffers, as stored.
        flops: of one forward pass of one sample; a multiply-add counts two.
        latency_ms: milliseconds of one batch, for every decision: the same number for all widths
            that are tied, the mean of their medians.
        latency_p95_ms: 95th percentile of its own timings.
        rounds: its own timings.
    """

    width: int
    params: int
    bytes: int
    flops: int
    latency_ms: float
    latency_p95_ms: float
    rounds: Rounds = field(default_factory=Rounds)

    @staticmethod
    def of(values: Mapping[str, Any]) -> Measurement:
        """From the fields, as JSON has them."""
        return Measurement(**{**values, "rounds": Rounds.of(values.get("rounds", {}))})

    @property
    def median_ms(self) -> float:
        """Of its own timings."""
        return median(self.rounds.medians_ms) if self.rounds.medians_ms else self.latency_ms


def tied_with(width: int, measured: Mapping[int, Measurement]) -> list[int]:
    """The other widths that count as equally fast."""
    latency = measured[width].latency_ms
    return [w for w, m in measured.items() if m.latency_ms == latency and w != width]


def latency_words(width: int, measured: Mapping[int, Measurement]) -> str:
    """`0.0445 ms, tied with widths 12 and 8; its own median is 0.0451 ms`."""
    size, others = measured[width], tied_with(width, measured)
    words = f"{size.latency_ms:.4g} ms"
    if not others:
        return words
    *most, last = map(str, others)
    listed = f"widths {', '.join(most)} and {last}" if most else f"width {last}"
    return f"{words}, tied with {listed}; its own median is {size.median_ms:.4g} ms"


def _above_zero(limit: object, name: str) -> bool:
    """Whether a limit admits anything; it may come from Python, and be anything.

    Raises:
        StudyError: where it is no number.
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
    """Upper limits, each inclusive; None is no limit."""

    max_params: int | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        for limited in fields(self):
            limit = getattr(self, limited.name)
            if limit is not None and not _above_zero(limit, limited.name):
                raise StudyError(f"{limited.name}: should be above 0, found {quoted(limit)}")

    def excess(self, item: Measurement | Candidate) -> float:
        """The largest ratio of a value to its limit; at most 1 fits, and 0 is no limit at all."""
        pairs = (
            (item.params, self.max_params),
            (item.bytes, self.max_bytes),
            (item.latency_ms, self.max_latency_ms),
        )
        return max((value / limit for value, limit in pairs if limit is not None), default=0.0)

    def admits(self, item: Measurement | Candidate) -> bool:
        return self.excess(item) <= 1.0

    def __str__(self) -> str:
        limits = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return ", ".join(f"{name} = {v:,}" for name, v in limits if v is not None) or "no limit"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained student and the chain that made it.

    Args:
        trial: its number in the Optuna study.
        chain: widths, teacher first.
        recipe: `{"assistants": {...} or None, "student": {...}}`.
        accuracy: share of the validation part that it gets right, after the last epoch.
        params: see `Measurement`.
        bytes: see `Measurement`.
        latency_ms: see `Measurement`.
    """

    trial: int
    chain: tuple[int, ...]
    recipe: dict[str, Any]
    accuracy: float
    params: int
    bytes: int
    latency_ms: float

    @property
    def label(self) -> str:
        return label(self.chain, self.recipe)


def merit(candidate: Candidate) -> tuple[float, int, float, int, int]:
    """Sorts the best first: accuracy, then size, latency, the shorter chain, the earlier trial."""
    return (
        -candidate.accuracy,
        candidate.params,
        candidate.latency_ms,
        len(candidate.chain),
        candidate.trial,
    )


class Front:
    """The candidates that no other beats in accuracy, size and latency at once.

    Of several that are equal in all three, the one with the shortest chain, then the earliest
    trial, stands for all.

    Args:
        candidates: all that are known, in any order.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates: tuple[Candidate, ...] = tuple(sorted(candidates, key=merit))
        members: list[Candidate] = []
        for candidate in self.candidates:  # best first, so only members can dominate: O(n·front)
            if not any(_covers(member, candidate) for member in members):
                members.append(candidate)
        self.members: tuple[Candidate, ...] = tuple(
            sorted(members, key=lambda c: (c.params, c.latency_ms, -c.accuracy))
        )

    def __len__(self) -> int:
        return len(self.members)

    def best(
        self,
        *,
        max_params: int | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
    ) -> Candidate:
        """The most accurate candidate within a budget.

        Raises:
            NothingFits: with the candidate that misses by the smallest ratio.
        """
        budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
        for candidate in self.candidates:
            if budget.admits(candidate):
                return candidate
        if not self.candidates:
            raise NothingFits("no student was trained to the end")
        near = self.nearest_miss(budget)
        raise NothingFits(
            f"no candidate fits {budget}; the nearest is trial {near.trial}, {near.label}: "
            f"{near.params:,} params, {near.bytes:,} bytes, {near.latency_ms:.4g} ms, "
            f"accuracy {near.accuracy:.2%}"
        )

    def nearest_miss(self, budget: Budget) -> Candidate:
        """The candidate whose worst excess over the budget is smallest."""
        return min(self.candidates, key=lambda c: (budget.excess(c), merit(c)))


def _covers(member: Candidate, candidate: Candidate) -> bool:
    """Whether `member`, of no lower accuracy, is no larger and no slower either."""
    return member.params <= candidate.params and member.latency_ms <= candidate.latency_ms


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The box that hypervolume is measured in; its costs are on logarithmic axes, as in the plots:
    a halved size counts alike among the large and among the small.

    Args:
        accuracy: from here to 1.
        params: from the first to the second.
        latency_ms: from the first to the second.
    """

    accuracy: float
    params: tuple[float, float]
    latency_ms: tuple[float, float]

    @staticmethod
    def of(measured: Iterable[Measurement], *, classes: int) -> Reference:
        """From guessing, and from the smallest and the fastest, to a tenth beyond the largest and
        the slowest, so that every candidate counts."""
        listed = [*measured]
        sizes, latencies = [m.params for m in listed], [m.latency_ms for m in listed]
        return Reference(
            accuracy=1 / classes,
            params=(min(sizes), BEYOND * max(sizes)),
            latency_ms=(min(latencies), BEYOND * max(latencies)),
        )

    def corner(self, item: Measurement | Candidate) -> tuple[float, float]:
        """Where a size and a latency lie on their axes: 0 is the cheapest, 1 the box's end."""
        return _along(item.params, self.params), _along(item.latency_ms, self.latency_ms)

    def height(self, accuracy: float) -> float:
        """Where an accuracy lies on its axis, 0..1."""
        return max(0.0, accuracy - self.accuracy) / (1 - self.accuracy)


def _along(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return max(0.0, math.log(value / low) / math.log(high / low))


def hypervolume(candidates: Iterable[Candidate], reference: Reference) -> float:
    """Share of the box that the candidates dominate.

    A sweep over latency with a staircase in (params, accuracy): O(n²).
    """
    points = []
    for c in Front(candidates).members:
        size, latency = reference.corner(c)
        if size < 1 and latency < 1:
            points.append((latency, size, reference.height(c.accuracy)))
    points.sort()
    volume = 0.0
    for i, (latency, _, _) in enumerate(points):
        until = points[i + 1][0] if i + 1 < len(points) else 1.0
        volume += (until - latency) * _area([(p, a) for _, p, a in points[: i + 1]])
    return volume


def _area(points: list[tuple[float, float]]) -> float:
    """Area that (cost, gain) points dominate in the unit square."""
    area, gain = 0.0, 0.0
    steps = sorted(points)
    for i, (cost, value) in enumerate(steps):
        gain = max(gain, value)
        until = steps[i + 1][0] if i + 1 < len(steps) else 1.0
        area += (until - cost) * gain
    return area
