"""What is known of a student beyond the search: its verdicts, or that there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tasearch.pareto.candidate import Candidate
from tasearch.report.quality_text import quality_text
from tasearch.report.verdict_text import verdict_text
from tasearch.runs.leads import lead_over_direct
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Arm, Confirmation, shipped


def evidence(run: Run, candidate: Candidate) -> list[str]:
    """What is known of a candidate beyond its accuracy in the search, a line each.

    Args:
        run: The run.
        candidate: A finished student.

    Returns:
        Accuracies on fresh seeds and the verdicts of its width, if it was confirmed; else its lead
        over direct distillation with the same recipe, if its chain has assistants. A notice, if the
        file of the verdicts is damaged.
    """
    confirmed = run.confirmed(candidate)
    if confirmed is not None and confirmed[1].accuracy is not None:
        return [*_confirmed_lines(candidate, *confirmed, confirmed[1].accuracy)]
    lead = lead_over_direct(run, candidate)
    lines = [] if lead is None else [lead.words]
    return [*lines, f"notice    {damage_text(run)}"] if run.verdicts_damage else lines


def damage_text(run: Run) -> str:
    """What is wrong with the file of a run's verdicts, and what follows from it."""
    return f"{run.verdicts_damage}; until then no verdict counts"


def evidence_numbers(run: Run, candidate: Candidate) -> dict[str, Any]:
    """What is known of a candidate beyond its accuracy in the search, for programs.

    Args:
        run: The run.
        candidate: A finished student.

    Returns:
        `confirmed`: what fresh seeds say, None if the candidate was not confirmed; and
        `lead_over_direct`: its lead over direct distillation in the search, None if there is none.
    """
    confirmed = run.confirmed(candidate)
    lead = lead_over_direct(run, candidate)
    return {
        "confirmed": None if confirmed is None else _confirmed_numbers(*confirmed),
        "lead_over_direct": None if lead is None else asdict(lead),
    }


def _confirmed_lines(
    candidate: Candidate, found: Confirmation, arm: Arm, accuracy: float
) -> Iterator[str]:
    own = found.of_width(candidate.chain[-1])
    gone = candidate.accuracy - accuracy
    yield (
        f"confirmed {accuracy:.1%} of the validation part, mean of {len(arm.accuracies)} fresh "
        f"seeds: {100 * abs(gone):.1f} points {'less' if gone >= 0 else 'more'} than in the search"
    )
    if arm.test_accuracy is not None:
        yield f"test      {arm.test_accuracy:.1%} of the test part, mean of the same seeds"
    if arm.quality is not None:
        yield f"quality   on the test part, mean of the same seeds: {quality_text(arm.quality)}"
    for comparison in own:
        words = verdict_text(comparison, found.plan, len(found.comparisons))
        yield f"verdict   {words}"
    ship = shipped(own)
    if not ship.is_chain(candidate.chain, candidate.recipe):
        yield f"not tried {ship.label}: the verdict ships it, the search has not tried it"


def _confirmed_numbers(found: Confirmation, arm: Arm) -> dict[str, Any]:
    trained = sum(accuracy is not None for accuracy in arm.accuracies)
    source = {"seeds": "fresh", "replicates": trained, "selected": False}
    test = None
    if arm.quality is not None:
        test = {"of": {"part": "test", **source}, **arm.quality.as_json()}
    return {
        "accuracy": arm.accuracy,
        "accuracy_of": {"part": "validation", **source},
        "test_accuracy": arm.test_accuracy,
        "test": test,
        "seeds": len(arm.accuracies),
        "verdicts": {c.question: asdict(c.verdict) for c in found.of_width(arm.chain[-1])},
    }
