"""What a width costs to run, and the timings that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Timings of one model, round by round.

    Args:
        medians_ms: median of each round's timings.
        spreads: interquartile range of each round's timings, over their median.
    """

    medians_ms: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Rounds:
        """From the fields, as JSON has them."""
        return cls(**{name: tuple(map(float, listed)) for name, listed in values.items()})


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How the machine was while latencies were measured.

    Args:
        reference: timings of a small net, the same in every study, in the rounds of all widths.
        notices: what a person should know of it.
    """

    reference: Rounds = Rounds()
    notices: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Timing:
        """From the fields, as JSON has them."""
        notices = tuple(map(str, values["notices"]))
        return cls(reference=Rounds.from_json(values["reference"]), notices=notices)


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

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measurement:
        """From the fields, as JSON has them."""
        return cls(**{**values, "rounds": Rounds.from_json(values.get("rounds", {}))})

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
