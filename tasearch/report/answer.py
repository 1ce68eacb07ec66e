"""The answer of a run: what to ship, and what is known of it, as plain values."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tasearch.config.places import Place
from tasearch.report.gains import question_words
from tasearch.report.rows import Row
from tasearch.report.text import duration, flops_text, interval_text
from tasearch.runs.accuracies import unseen_text
from tasearch.runs.run import Run
from tasearch.runs.verdicts import shipped


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to ship, and what is known of it.

    Args:
        row: The student to ship.
        accuracy: Its accuracy, where it comes from, and its interval.
        size: Its size, and how many times smaller it is than the teacher.
        assistants: Whether assistants help at its width.
        distillation: Whether distillation helps at its width.
        cost: What it cost to train, and to find.
        notes: What else should be known before it is shipped.
        command: The command that exports it.
        export_any: The same for any student, with TRIAL for the number of its trial.
    """

    row: Row
    accuracy: str
    size: str
    assistants: str
    distillation: str
    cost: str
    notes: tuple[str, ...]
    command: str
    export_any: str


def answer_of(run: Run, rows: Sequence[Row]) -> Answer | None:
    """The answer within the study's budget; None where no student is finished.

    Args:
        run: A run, finished or not.
        rows: Its rows.
    """
    if not run.front.candidates:
        return None
    best = run.best()
    row = next(row for row in rows if row.trial == best.trial)
    return Answer(
        row=row,
        accuracy=accuracy_words(run, row),
        size=_size(run, row),
        assistants=question_words(run, row.width, "assistants", rows),
        distillation=question_words(run, row.width, "distillation", rows),
        cost=_cost(run, row),
        notes=tuple(_notes(run, row, rows)),
        command=export_command(run, trial=row.trial),
        export_any=export_command(run, trial="TRIAL"),
    )


def accuracy_words(run: Run, row: Row) -> str:
    """A finished student's accuracy with its interval, of fresh seeds if there are any."""
    assert row.accuracy is not None and row.interval is not None
    metric, replicates = run.metric, len(row.replicates)
    on = f"{run.manifest.validation:,} validation samples"
    if row.confirmed is None:
        seeds = f"mean of {replicates} seeds" if replicates else "one seed"
        return (
            f"{metric.of(row.accuracy, on)} ({interval_text(row.interval, metric)}; {seeds}, "
            f"chosen by the search, not confirmed)"
        )
    found = row.confirmed
    words = (
        f"{metric.of(found.accuracy, on)} ({interval_text(found.interval, metric)}; "
        f"mean of {found.seeds} fresh seeds; the search said {metric.text(row.accuracy)}, "
        f"{metric.size(row.accuracy - found.accuracy, 'less', 'more')})"
    )
    return words if found.test is None else f"{words}; {metric.of(found.test, 'the test part')}"


def _size(run: Run, row: Row) -> str:
    teacher = run.manifest.measured[run.manifest.study.teacher.width].params
    words = f"{row.params:,} parameters"  # of a teacher without a model none are known
    return f"{words}, {teacher / row.params:.3g} times fewer than the teacher" if teacher else words


def _cost(run: Run, row: Row) -> str:
    paid, history = run.costs.paid, run.directory.history()
    time = f"{'at least ' if history.damage else ''}{duration(history.seconds)}"
    return (
        f"{flops_text(row.flops)} to train its models beyond the teacher; {flops_text(paid)} and "
        f"{time} of wall time for the whole search, the teacher included"
    )


def _notes(run: Run, row: Row, rows: Sequence[Row]) -> list[str]:
    notes = []
    recalls = run.trials[row.trial].recalls
    if 0 in recalls:
        notes.append(f"it {unseen_text(recalls, run.manifest.class_names)}")
    smaller = next((other for other in rows if other.trial == row.smaller), None)
    if smaller is not None:
        accuracy, interval = smaller.known
        times = row.params / smaller.params
        notes.append(
            f"a smaller student cannot be told apart from it: {smaller.label}, "
            f"{run.metric.text(accuracy)} ({interval_text(interval, run.metric)}), {times:.3g} "
            f"times fewer parameters (trial {smaller.trial})"
        )
    candidate = next(c for c in run.front.candidates if c.trial == row.trial)
    found = run.confirmation_of(candidate)
    if found is not None:
        ship = shipped(found.of_width(row.width))
        if not ship.is_chain(candidate.chain, candidate.recipe):
            notes.append(f"the verdict would ship {ship.label}, which the search has not tried")
    return notes


def export_command(run: Run, *, path: Place | None = None, trial: int | str | None = None) -> str:
    """The command that exports a student.

    Args:
        run: The run.
        path: The path or the URL of the run as the user knows it; its own if not given.
        trial: Number of the student's trial; None for the best student.
    """
    study = run.manifest.study
    own_code = (study.data.own_source or "", study.model.own_family, study.objective.metric)
    own = " --trust" if any(":" in name for name in own_code) else ""
    which = "" if trial is None else f" --trial {trial}"
    return f"tasearch export {shlex.quote(str(path or run.place))}{which} --out winner{own}"
