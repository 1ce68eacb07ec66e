"""What a run is of, and what its reader should be warned of."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
from collections import Counter
from dataclasses import dataclass

from tasearch.pareto.budget import Budget
from tasearch.report.evidence import damage_text
from tasearch.report.status import teacher_accuracy
from tasearch.runs.accuracies import unseen_text
from tasearch.runs.records import ENDED, states
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a run is of.

    Args:
        name: Name of the study.
        facts: Pairs of a name and a value in words, such as ("budget", "none").
        warnings: What the reader should know before anything else, a sentence each.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def head_of(run: Run) -> Head:
    """The head of a run's page.

    Args:
        run: A run, finished or not.
    """
    manifest, counts = run.manifest, states(run.trials)
    study, limits = manifest.study, manifest.study.limits()
    over = sum(counts[state] for state in ENDED)
    replicates = study.search.replicates
    facts = [
        ("trials", _trials(run, over)),
        ("budget", "none" if limits == Budget() else str(limits)),
        (
            "samples",
            f"{manifest.samples:,} to train, {manifest.validation:,} to validate, "
            f"{manifest.classes} classes; the test part is kept for confirm and export",
        ),
        (
            "seeds",
            f"study seed {study.seed}, {replicates} replicate{'s' * (replicates != 1)} a chain",
        ),
        *(() if run.metric.is_accuracy else (("metric", run.metric.words),)),
        ("latency", manifest.device),
        ("versions", _versions(run)),
        ("date", _date(run)),
    ]
    return Head(name=study.name, facts=tuple(facts), warnings=tuple(_warnings(run, over)))


def _trials(run: Run, over: int) -> str:
    """The trials that are over, and the assistants that are students of their own."""
    extra = sum(trial.free and trial.state in ENDED for trial in run.trials)
    also = f", and {extra} more for their assistants" if extra else ""
    return f"{over:,}{also}; {run.manifest.space:,} chains are within the budget"


def _versions(run: Run) -> str:
    now = importlib.metadata.version("tasearch")
    return f"trainer {run.manifest.inputs['version of the trainer']}; page by tasearch {now}"


def _date(run: Run) -> str:
    """When the run was last worked on, UTC."""
    events = run.directory.history().events
    if not events:
        return "unknown"
    last = datetime.datetime.fromtimestamp(events[-1]["time"], datetime.UTC)
    return last.strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def _warnings(run: Run, over: int) -> list[str]:
    history, warnings = run.directory.history(), []
    if run.verdicts_damage:
        warnings.append(f"{damage_text(run)}.")
    if run.test_reads_damage:
        warnings.append(f"{run.test_reads_damage}.")
    reasons = failures(run)
    if reasons:
        count = sum(reasons.values())
        listed = "; ".join(f"{number} because {reason}" for reason, number in reasons.items())
        warnings.append(f"{count} trial{'s' * (count != 1)} failed: {listed}.")
    if history.damage:
        warnings.append(f"{history.damage}: how far the run is, and its date, may be wrong.")
    elif not history.finished:
        asked = f" of {history.target}" if history.target is not None else ""
        warnings.append(
            f"The run is not over: {over}{asked} trials are done. The same run command goes on."
        )
    teacher = teacher_accuracy(run)
    if teacher is not None and run.metric.near_chance(teacher):
        found = run.metric.of(teacher, "the validation part")
        warnings.append(
            f"The teacher is hardly better than chance: {found}, with {run.manifest.classes} "
            f"classes. What students learn from it says little."
        )
    warnings += _unseen(run)
    warnings += [f"{n[:1].upper()}{n[1:]}." for n in run.manifest.timing.notices]
    return warnings


def _unseen(run: Run) -> list[str]:
    """Which classes the student to ship finds no sample of."""
    if not run.front.candidates:
        return []
    best = run.best()
    recalls = run.trials[best.trial].recalls
    words = unseen_text(recalls, run.manifest.class_names)
    return [f"The student to ship, {best.label}, {words}."] if 0 in recalls else []


def failures(run: Run) -> dict[str, int]:
    """The reasons for which trials failed, the most frequent first, with their numbers.

    Reasons that differ in numbers only, such as an epoch, count as one.
    """
    retried = {trial.retry_of for trial in run.trials}
    failed = [t for t in run.trials if t.state == "failed" and t.number not in retried]
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for trial in failed:
        reason = trial.reason or "of an unknown reason"
        kind = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)
        counts[kind] += 1
        first.setdefault(kind, reason)
    return {first[kind]: number for kind, number in counts.most_common()}
