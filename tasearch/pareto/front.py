"""The Pareto front of accuracy against size and latency."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate, preference
from tasearch.pareto.front_table import data_frame, html_table

if TYPE_CHECKING:
    import pandas

NO_LIMIT = Budget()


class Front:
    """The candidates that no other beats in accuracy, size and latency at once.

    Of several candidates that are equal in all three, only one is a member: the one with the
    shortest chain, and of these the one of the earliest trial.

    Args:
        candidates: All known candidates, in any order.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates: tuple[Candidate, ...] = tuple(sorted(candidates, key=preference))
        members: list[Candidate] = []
        for candidate in self.candidates:  # best first, so that only members can dominate it
            if not any(_covers(member, candidate) for member in members):
                members.append(candidate)
        self.members: tuple[Candidate, ...] = tuple(
            sorted(members, key=lambda c: (c.params, c.latency_ms, -c.accuracy))
        )

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        best = f", best {self.candidates[0].brief}" if self.candidates else ""
        return f"<Front: {len(self)} of {len(self.candidates)} finished students{best}>"

    def _repr_html_(self) -> str:
        return html_table(self.members)

    def to_pandas(self) -> pandas.DataFrame:
        """The members as a table of pandas, the smallest first.

        Returns:
            A row for each member: `label`, the fields of `Candidate`, and a column for each value
            of the recipes that differs between members; of a single member, for each value.

        Raises:
            TasearchError: pandas is not installed.
        """
        return data_frame(self.members)

    def best(self, budget: Budget = NO_LIMIT) -> Candidate:
        """The most accurate candidate within a budget.

        Args:
            budget: The budget; none if not given.

        Raises:
            NothingFits: No candidate is within the budget; the message names the nearest one.
        """
        for candidate in self.candidates:
            if budget.admits(candidate):
                return candidate
        if not self.candidates:
            raise NothingFits("no student was trained to the end")
        near = self.nearest_miss(budget)
        raise NothingFits(
            f"no candidate fits {budget}; the nearest is trial {near.trial}, {near.label}: "
            f"{near.params:,} params, {near.bytes:,} bytes, {near.latency_ms:.4g} ms, "
            f"{near.metric.named(near.accuracy)}"
        )

    def nearest_miss(self, budget: Budget) -> Candidate:
        """The candidate that exceeds the budget by the smallest ratio, in its worst value."""
        return min(self.candidates, key=lambda c: (budget.excess(c), preference(c)))


def _covers(member: Candidate, candidate: Candidate) -> bool:
    """Whether `member`, which is at least as accurate, is also no larger and no slower."""
    return member.params <= candidate.params and member.latency_ms <= candidate.latency_ms
