"""Size and latency of each width, and the timings behind the latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tasearch.chains.sizes import Size, sized


@dataclass(frozen=True, kw_only=True)
class TimingRounds:
    """Timings of one model, round by round.

    Args:
        medians_ms: The median of each round's timings, in milliseconds.
        spreads: The interquartile range of each round's timings, divided by their median.
    """

    medians_ms: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TimingRounds:
        """The value whose fields these are, as read from JSON."""
        return cls(**{name: tuple(map(float, listed)) for name, listed in values.items()})


@dataclass(frozen=True, kw_only=True)
class TimingConditions:
    """The state of the machine while latencies were measured.

    Args:
        reference: Timings of a small network that is the same in every study, taken in the same
            rounds as those of the widths.
        notices: Messages to the user about disturbances.
    """

    reference: TimingRounds = TimingRounds()
    notices: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TimingConditions:
        """The value whose fields these are, as read from JSON."""
        notices = tuple(map(str, values["notices"]))
        return cls(reference=TimingRounds.from_json(values["reference"]), notices=notices)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Size and latency of one width, measured before anything is trained.

    Args:
        width: The width.
        params: Number of parameters.
        bytes: Bytes of all weights and buffers, as stored.
        flops: FLOPs of one forward pass of one sample; a multiply-add counts as two.
        latency_ms: The latency of one batch that every decision uses, in milliseconds. Widths whose
            timings cannot be told apart are tied: they share the mean of their medians.
        latency_p95_ms: The 95th percentile of this width's own timings, in milliseconds.
        rounds: This width's own timings.
        by_length: For texts, each length in tokens at which the latency was measured, with the
            latency in milliseconds; the last one is `latency_ms`. Empty where the study names none.
    """

    width: int
    params: int
    bytes: int
    flops: int
    latency_ms: float
    latency_p95_ms: float
    rounds: TimingRounds = field(default_factory=TimingRounds)
    by_length: tuple[tuple[int, float], ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measurement:
        """The value that `content` has described, as read from JSON."""
        own = {**values, "rounds": TimingRounds.from_json(values.get("rounds", {}))}
        own["by_length"] = tuple((int(n), float(ms)) for n, ms in values.get("by_length", ()))
        if "size" in own:
            own["width"] = Size(own["width"], own.pop("size"))
        return cls(**own)

    def content(self) -> dict[str, Any]:
        """The fields by name, as they are stored; with the name of a size that has one.

        Without lengths there is no field of them, as in runs of before there were any.
        """
        named = {"size": self.width.name} if isinstance(self.width, Size) else {}
        found = {**asdict(self), "width": int(self.width), **named}
        if not self.by_length:
            del found["by_length"]
        return found

    @property
    def median_ms(self) -> float:
        """The median of this width's own timings, in milliseconds."""
        return median(self.rounds.medians_ms) if self.rounds.medians_ms else self.latency_ms


def tied_with(width: int, measured: Mapping[int, Measurement]) -> list[int]:
    """The other widths that count as equally fast: their timings cannot be told apart."""
    latency = measured[width].latency_ms
    return [w for w, m in measured.items() if m.latency_ms == latency and w != width]


def latency_words(width: int, measured: Mapping[int, Measurement]) -> str:
    """A latency for the user: `0.0445 ms, tied with width 8; its own median is 0.0451 ms`."""
    size, others = measured[width], tied_with(width, measured)
    words = f"{size.latency_ms:.4g} ms"
    if size.by_length:
        words += f" with {size.by_length[-1][0]} tokens"
    if others:
        words += f", tied with {sized(*others)}; its own median is {size.median_ms:.4g} ms"
    if len(size.by_length) > 1:
        rest = (f"{ms:.4g} ms with {length}" for length, ms in size.by_length[:-1])
        words += f"; {', '.join(rest)}"
    return words
