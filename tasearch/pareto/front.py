"""The Pareto front of accuracy against size and latency."""

from __future__ import annotations

from collections.abc import Iterable

from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate, merit


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
