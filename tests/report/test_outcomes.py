"""How trials have ended, in words."""

from __future__ import annotations

from tasearch.report.outcomes import outcome_text
from tasearch.runs.records import TrialRecord


def failed(number: int, reason: str, **values: object) -> TrialRecord:
    return TrialRecord(number=number, state="failed", reason=reason, **values)  # type: ignore[arg-type]


def test_outcome_text_groups_failures_by_reason() -> None:
    memory = [failed(i, f"hop 64 → {8 + i}: out of memory on cpu") for i in range(2)]
    trials = [TrialRecord(number=7, state="complete"), TrialRecord(number=8, state="running")]
    assert outcome_text([]) == outcome_text(trials[1:]) == ""
    assert outcome_text([*trials, *memory]) == "1 complete, 2 failed: out of memory on cpu"
    odd = failed(9, "hop 64 → 8: the loss is not finite")
    assert outcome_text([*memory, odd]) == (
        "3 failed: 2 out of memory on cpu; 1 the loss is not finite"
    )


def test_outcome_text_leaves_out_free_and_retried_trials() -> None:
    first = failed(0, "hop 64 → 8: out of memory on cpu")
    again = TrialRecord(number=1, state="complete", retry_of=0)
    free = TrialRecord(number=2, state="complete", free=True)
    assert outcome_text([first, again, free]) == "1 complete"
