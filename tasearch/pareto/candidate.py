"""A trained student, and the order in which students are preferred."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tasearch.chains.chain import label
from tasearch.pareto.metric import ACCURACY, Metric


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained student and the chain that made it.

    Args:
        trial: The number of its trial in the Optuna study.
        chain: The widths of its chain, the teacher's first.
        recipe: The recipes of its chain: `{"assistants": {...} or None, "student": {...}}`.
        accuracy: Score on the validation set after the last epoch: the accuracy in 0..1, or that of
            another metric, of which more is better.
        params: Number of parameters.
        bytes: Bytes of all weights and buffers, as stored.
        latency_ms: Latency of one batch, in milliseconds.
        teacher: Name of the teacher in chains; empty for its width.
        metric: What it is compared by.
    """

    trial: int
    chain: tuple[int, ...]
    recipe: dict[str, Any]
    accuracy: float
    params: int
    bytes: int
    latency_ms: float
    teacher: str = ""
    metric: Metric = field(default=ACCURACY, compare=False, repr=False)

    @property
    def label(self) -> str:
        """The chain in one line, such as `64 → 24 → 6`."""
        return label(self.chain, self.recipe, self.teacher)

    @property
    def brief(self) -> str:
        """The student in one line, such as `64 → 24 → 6: 97.2%, 1,234 params`."""
        value = self.metric.text(self.accuracy)
        return f"{self.label}: {value}, {self.params:,} params"


def preference(candidate: Candidate) -> tuple[float, int, float, int, int]:
    """Sort key that puts the best first: by accuracy, size, latency, length of chain, trial."""
    return (
        -candidate.accuracy,
        candidate.params,
        candidate.latency_ms,
        len(candidate.chain),
        candidate.trial,
    )
