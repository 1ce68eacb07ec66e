"""One student of a run for people: a card of what is known of it, and why it was chosen."""

from __future__ import annotations

from statistics import stdev

from tasearch.chains.chain import teaching
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import latency_words
from tasearch.report.evidence import evidence
from tasearch.report.known import searched_interval
from tasearch.report.student_text import accuracy_text, size_text
from tasearch.report.text import flops_text, interval_text, recipe_text
from tasearch.runs.accuracies import unseen_text
from tasearch.runs.leads import direct_trial, labels_trial
from tasearch.runs.records import HopUse, TrialRecord, training_flops
from tasearch.runs.run import Run

Rows = list[tuple[str, str]]


def card_rows(run: Run, candidate: Candidate, budget: Budget) -> Rows:
    """What is known of a student, as pairs of a name and its value.

    Args:
        run: The run.
        candidate: A finished student.
        budget: The budget that the runner-up is within.
    """
    trial, measured = run.trials[candidate.trial], run.manifest.measured
    free = ", an assistant within the budget" if trial.free else ""
    latency = latency_words(candidate.chain[-1], measured)
    p95 = measured[candidate.chain[-1]].latency_p95_ms
    rows = [
        ("chain", f"{candidate.label}  (trial {candidate.trial}{free})"),
        (
            "accuracy" if run.metric.is_accuracy else "metric",
            _searched_accuracy(run, candidate, trial),
        ),
        ("size", f"{size_text(run, candidate)}; {candidate.bytes:,} bytes"),
        ("latency", f"median {latency}; p95 {p95:.4g} ms ({run.manifest.device})"),
        *(("notice", notice) for notice in run.manifest.timing.notices),
        ("recipe", recipe_text(candidate.recipe)),
    ]
    if teaching(candidate.chain, candidate.recipe) != "no teacher":
        rows.append(("gain", _gains(run, candidate)))
    second = runner_up(run, candidate, budget)
    if second is not None:
        known = run.metric.text(run.known_accuracy(second))
        words = f"{second.label}: {known}, {second.params:,} params"
        rows.append(("runner-up", f"{words} (trial {second.trial}), of another width"))
    if 0 in trial.recalls:
        rows.append(("notice", f"it {unseen_text(trial.recalls, run.manifest.class_names)}"))
    return rows + evidence(run, candidate)


def explanation(run: Run, candidate: Candidate, budget: Budget) -> list[str]:
    """Why this chain, what it costs beyond the teacher, and what the runner-up is.

    Args:
        run: The run.
        candidate: A finished student.
        budget: The budget that it was chosen for.

    Returns:
        Three sentences.
    """
    best = run.preferred([c for c in run.choices if budget.admits(c)]) or candidate
    accuracy = accuracy_text(run, candidate)
    if candidate == best:
        within = "" if budget == Budget() else f" within {budget}"
        most = "most accurate" if run.metric.is_accuracy else "best"
        why = f"{candidate.label} is the {most} student of the search{within}: {accuracy}."
        if run.confirmed(candidate) is not None:
            why = (
                f"{candidate.label} is what the verdicts ship of the {most} "
                f"size{within}: {accuracy}."
            )
    else:
        why = (
            f"{candidate.label} was asked for, with {accuracy}; the best is {best.label} "
            f"(trial {best.trial}) with {accuracy_text(run, best)}."
        )
    return [why, _cost(run, run.trials[candidate.trial]), _second(run, candidate, budget)]


def runner_up(run: Run, candidate: Candidate, budget: Budget) -> Candidate | None:
    """The best student of another width within a budget; None if there is none."""
    width = candidate.chain[-1]
    return run.preferred([c for c in run.choices if c.chain[-1] != width and budget.admits(c)])


def _name(run: Run) -> str:
    return "accuracy" if run.metric.is_accuracy else "metric"


def _searched_accuracy(run: Run, candidate: Candidate, trial: TrialRecord) -> str:
    spread, count, metric = "", len(trial.accuracies), run.metric
    if count:
        found = stdev(trial.accuracies)
        size = f"{found:.1%}" if metric.share else f"{found:.3g}"
        spread = f", standard deviation {size} over {count} replicates"
    words = interval_text(searched_interval(run, candidate), metric)
    found_on = metric.of(candidate.accuracy, "the validation part")
    return f"{found_on} in the search ({words}){spread}"


def _gains(run: Run, candidate: Candidate) -> str:
    """The lead in the search over direct distillation and over labels alone, in points."""
    others = [("training on the labels alone", labels_trial(run.trials, candidate.chain[-1]))]
    if teaching(candidate.chain, candidate.recipe) == "assistants":
        direct = direct_trial(run.trials, candidate)
        others.insert(0, ("direct distillation with the same recipe", direct))
    found = [
        f"{run.metric.difference_words(candidate.accuracy - other.accuracy)} over {name}"
        if other is not None and other.accuracy is not None
        else f"{name} has no finished trial at this width"
        for name, other in others
    ]
    return f"{', '.join(found)} (in the search)"


def _cost(run: Run, trial: TrialRecord) -> str:
    manifest = run.manifest

    def flops(uses: list[HopUse]) -> float:
        samples = manifest.trained_samples
        return sum(training_flops(u.width, u.epochs, samples, manifest.measured) for u in uses)

    own = [use for use in trial.hops if use.width != manifest.study.teacher.width]
    others = {use.key for other in run.trials[: trial.number] for use in other.hops if use.trained}
    reused = [use for use in own if use.key in others]
    words = f"Beyond the teacher its {_hops(own)} cost {flops_text(flops(own))} of training"
    if not reused:
        return f"{words}, none of it paid by earlier trials."
    return f"{words}; earlier trials had paid {flops_text(flops(reused))} of it, {_hops(reused)}."


def _hops(uses: list[HopUse]) -> str:
    return f"{len(uses)} hop{'s' * (len(uses) != 1)}"


def _second(run: Run, candidate: Candidate, budget: Budget) -> str:
    second = runner_up(run, candidate, budget)
    if second is None:
        return "There is no student of another width within the budget."
    gain = run.known_accuracy(second) - run.known_accuracy(candidate)
    role = "The runner-up of another width" if gain <= 0 else "The best of another width"
    known = [run.confirmed(c) is not None for c in (second, candidate)]
    kind = "" if all(known) or not any(known) else ", one of them confirmed, the other not"
    return (
        f"{role} is {second.label} (trial {second.trial}): "
        f"{run.metric.difference_words(gain)}{kind}, "
        f"{second.params:,} params against {candidate.params:,}."
    )
