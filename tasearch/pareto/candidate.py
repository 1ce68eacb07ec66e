"""A trained student, and which of two is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasearch.chains.chain import label


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
