"""What is known of a student beyond the search: its verdicts, or that there are none."""

from __future__ import annotations

from tasearch.pareto.candidate import Candidate
from tasearch.report.verdict_text import verdict_text
from tasearch.runs.leads import lead_over_direct
from tasearch.runs.run import Run
from tasearch.runs.verdicts import shipped


def evidence(run: Run, candidate: Candidate) -> list[str]:
    """What is known of a candidate beyond its accuracy in the search, a line each.

    Args:
        run: The run.
        candidate: A finished student.

    Returns:
        Accuracies on fresh seeds and the verdicts of its width, if it was confirmed; else its lead
        over direct distillation with the same recipe, if its chain has assistants.
    """
    found = run.confirmation_of(candidate)
    arm = found.arm(candidate.chain, candidate.recipe) if found is not None else None
    if found is None or arm is None or arm.accuracy is None:
        lead = lead_over_direct(run, candidate)
        return [] if lead is None else [lead.words]
    gone = candidate.accuracy - arm.accuracy
    lines = [
        f"confirmed {arm.accuracy:.2%} of the validation part, mean of {len(arm.accuracies)} fresh "
        f"seeds: {100 * abs(gone):.1f} points {'less' if gone >= 0 else 'more'} than in the search"
    ]
    if arm.test_accuracy is not None:
        lines.append(f"test      {arm.test_accuracy:.2%} of the test part, mean of the same seeds")
    for comparison in found.of_width(candidate.chain[-1]):
        words = verdict_text(comparison, found.plan, len(found.comparisons))
        lines.append(f"verdict   {words}")
    ship = shipped(found.of_width(candidate.chain[-1]))
    if not ship.is_chain(candidate.chain, candidate.recipe):
        lines.append(f"not tried {ship.label}: the verdict ships it, the search has not tried it")
    return lines
