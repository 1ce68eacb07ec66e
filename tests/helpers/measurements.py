"""Measurements of widths, made up."""

from __future__ import annotations

from tasearch.pareto.measurement import Measurement, TimingRounds


def measurement(width: int, latency_ms: float, medians_ms: tuple[float, ...] = ()) -> Measurement:
    """The measurement of a width whose size is proportional to it."""
    return Measurement(
        width=width,
        params=10 * width,
        bytes=1,
        flops=1,
        latency_ms=latency_ms,
        latency_p95_ms=9.0,
        rounds=TimingRounds(medians_ms=medians_ms, spreads=(0.1,) * len(medians_ms)),
    )
