"""A student in words: its accuracy with the interval, its size, and what helps it."""

from __future__ import annotations

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.report.gains import question_words
from tasearch.report.known import known_interval
from tasearch.report.rows import rows_of
from tasearch.report.text import interval_text
from tasearch.report.verdict_text import margin_text
from tasearch.runs.leads import lead_over_direct, no_assistants_words
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Comparison, Confirmation


def accuracy_text(run: Run, candidate: Candidate) -> str:
    """The accuracy that is known best, with its interval."""
    arm = run.fresh_arm(candidate)
    seeds = "" if arm is None else f" on {arm.seeds} fresh seeds"
    metric = run.metric
    words, value = (
        interval_text(known_interval(run, candidate), metric),
        run.known_accuracy(candidate),
    )
    told = metric.text(value) if metric.is_accuracy else metric.named(value)
    return f"{told}{seeds} ({words})"


def size_text(run: Run, candidate: Candidate) -> str:
    """The size, compared with the teacher's."""
    teacher = run.manifest.measured[candidate.chain[0]].params
    words = f"{candidate.params:,} params"
    if not teacher:
        return f"{words}; the size of the teacher is unknown"
    return f"{words}, {teacher / candidate.params:.3g} times smaller than the teacher"


def help_text(run: Run, best: Candidate) -> str:
    """Whether assistants help students of the best one's width, and whether distillation does.

    Args:
        run: The run.
        best: The student to ship.

    Returns:
        Verdicts, or what the search says and that it is not confirmed. Distillation is left out
        where no student learned from the labels alone.
    """
    rows, width = rows_of(run), best.chain[-1]
    verdicts = _short_verdicts(run, best)
    if not any(row.finished and row.teaching == "no teacher" for row in rows):
        return verdicts.get("assistants") or _assistants_text(run, width)
    assistants = verdicts.get("assistants") or f"assistants: {_assistants_text(run, width)}"
    searched = question_words(run, width, "distillation", rows)
    return f"{assistants}; {verdicts.get('distillation') or f'distillation: {searched}'}"


def _short_verdicts(run: Run, candidate: Candidate) -> dict[str, str]:
    """The verdicts of a candidate's width, by question."""
    found = run.confirmation_of(candidate)
    own = [] if found is None else found.of_width(candidate.chain[-1])
    return {c.question: short_verdict(c, found, run.metric) for c in own if found is not None}


def _assistants_text(run: Run, width: int) -> str:
    """The lead of the best chain with assistants, or why there is none."""
    if not run.manifest.study.assistants.max:
        return "the study has none"
    own = (c for c in run.front.candidates if len(c.chain) > 2 and c.chain[-1] == width)
    rival = next(own, None)
    if rival is None:
        return no_assistants_words(run, width)
    lead = lead_over_direct(run, rival)
    return "no finished direct chain with the same recipe" if lead is None else lead.words


def short_verdict(comparison: Comparison, found: Confirmation, metric: Metric = ACCURACY) -> str:
    """A verdict in a few words, with the chains that were compared."""
    verdict = comparison.verdict
    words = comparison.answer_words(margin_text(found.plan, metric))
    answer = f"{comparison.label}: {words}"
    if verdict.difference is None or verdict.low is None or verdict.high is None:
        return answer
    return (
        f"{answer}: {metric.difference_words(verdict.difference)} "
        f"({metric.difference_range(verdict.low, verdict.high)}), {verdict.pairs} fresh seeds"
    )
