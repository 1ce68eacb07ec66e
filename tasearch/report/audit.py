"""The audit of pruning: how often the rule would have stopped a student that reached the skyline.

A fraction of the students that the rule would stop is trained to the end all the same. Those which
then reach the skyline would have been pruned wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import betaincinv

from tasearch.runs.records import TrialRecord

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class AuditCount:
    """Result of the audit.

    Args:
        audited: Number of students which were trained on although the rule would have stopped them.
        wrong: Number of those which reached the skyline.

    Example:
        >>> AuditCount(audited=12, wrong=1).words
        '12 audited, 1 wrongly pruned: 8% (0% to 38%)'
    """

    audited: int
    wrong: int

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95% confidence interval of the wrong-prune rate (Clopper and Pearson, 1934)."""
        wrong, right, tail = self.wrong, self.audited - self.wrong, (1 - CONFIDENCE) / 2
        low = float(betaincinv(wrong, right + 1, tail)) if wrong else 0.0
        high = float(betaincinv(wrong + 1, right, 1 - tail)) if right else 1.0
        return low, high

    @property
    def words(self) -> str:
        """The counts, and the rate with its interval, in words."""
        if not self.audited:
            return "none audited"
        low, high = self.interval
        rate = self.wrong / self.audited
        return (
            f"{self.audited} audited, {self.wrong} wrongly pruned: "
            f"{rate:.0%} ({low:.0%} to {high:.0%})"
        )


def audit_count(trials: Iterable[TrialRecord]) -> AuditCount:
    """Count the audited students.

    Args:
        trials: The run's trials.

    Returns:
        The counts.
    """
    audited = [t for t in trials if t.audit is not None]
    return AuditCount(audited=len(audited), wrong=sum(t.falsely_pruned for t in audited))
