"""What is known of a student beyond the search: its verdicts, or that there are none."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.metric import Metric
from tasearch.report.intervals import score_interval
from tasearch.report.known import known_interval
from tasearch.report.quality_text import quality_text
from tasearch.report.text import interval_text
from tasearch.report.verdict_text import verdict_text
from tasearch.runs.leads import lead_over_direct
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Arm, Confirmation, shipped


def evidence(run: Run, candidate: Candidate) -> list[tuple[str, str]]:
    """What is known of a candidate beyond its accuracy in the search: pairs of a name and words.

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
        return [*_confirmed_lines(run, candidate, *confirmed, confirmed[1].accuracy)]
    lead = lead_over_direct(run, candidate)
    lines = [] if lead is None else [("lead", lead.words.removeprefix("lead "))]
    return [*lines, ("notice", damage_text(run))] if run.verdicts_damage else lines


def evidence_lines(run: Run, candidate: Candidate) -> list[str]:
    """The same as lines of text, such as `verdict: 64 → 12 → 6 against 64 → 6: assistants help`."""
    return [
        f"{name}{' ' if name == 'lead' else ': '}{words}"
        for name, words in evidence(run, candidate)
    ]


def damage_text(run: Run) -> str:
    """What is wrong with the file of a run's verdicts, and what follows from it."""
    return f"{run.verdicts_damage}; until then no verdict counts"


def _of_the_test_part(arm: Arm, accuracy: float, metric: Metric) -> str:
    """The score on the test part, with its interval if the number of samples is known."""
    words = metric.of(accuracy, "the test part")
    if arm.quality is None:  # confirmed before quality was measured
        return words
    known = [accuracy for accuracy in arm.test if accuracy is not None]
    samples = arm.quality.samples
    errors = () if arm.quality.error is None else (arm.quality.error,)
    interval = interval_text(score_interval(metric, known, samples, errors), metric)
    return f"{words} ({interval}; {samples:,} samples)"


def _confirmed_lines(
    run: Run, candidate: Candidate, found: Confirmation, arm: Arm, accuracy: float
) -> Iterator[tuple[str, str]]:
    own, metric = found.of_width(candidate.chain[-1]), run.metric
    interval = interval_text(known_interval(run, candidate), metric)
    yield (
        "confirmed",
        f"{metric.of(accuracy, 'the validation part')} ({interval}), mean of {arm.seeds} fresh "
        f"seeds: {metric.size(candidate.accuracy - accuracy, 'more', 'less')} than in the search",
    )
    if arm.test_accuracy is not None:
        yield "test", f"{_of_the_test_part(arm, arm.test_accuracy, metric)}, mean of the same seeds"
    if arm.quality is not None:
        words = quality_text(arm.quality, run.manifest.class_names)
        yield "quality", f"on the test part, mean of the same seeds: {words}"
    for comparison in own:
        words = verdict_text(comparison, found.plan, len(found.comparisons), metric)
        yield "verdict", f"{comparison.label}: {words}"
    ship = shipped(own)
    if not ship.is_chain(candidate.chain, candidate.recipe):
        tried = (c for c in run.front.candidates if ship.is_chain(c.chain, c.recipe))
        trial = next((f"trial {c.trial}" for c in tried), "which the search has not tried")
        yield "instead", f"the verdict ships {ship.label}, {trial}"
