"""Timings as they are kept: every width's and the reference net's, round by round. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

    @staticmethod
    def of(values: Mapping[str, Any]) -> Rounds:
        """From the fields, as JSON has them."""
        return Rounds(**{name: tuple(map(float, listed)) for name, listed in values.items()})


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How the machine was while latencies were measured.

    Args:
        reference: timings of a small net, the same in every study, in the rounds of all widths.
        notices: what a person should know of it.
    """

    reference: Rounds = Rounds()
    notices: tuple[str, ...] = ()

    @staticmethod
    def of(values: Mapping[str, Any]) -> Timing:
        """From the fields, as JSON has them."""
        notices = tuple(map(str, values["notices"]))
        return Timing(reference=Rounds.of(values["reference"]), notices=notices)
