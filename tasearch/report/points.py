"""Marks of the plots of the front: students, assistants and the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasearch.chains.hop import arrows
from tasearch.pareto.measurement import Measurement
from tasearch.report.text import recipe_text
from tasearch.runs.records import TrialRecord
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mark of the front's plots.

    Args:
        kind: "front", "dominated", "pruned", "assistant", "over budget" or "teacher".
        label: The chain.
        detail: Further words for the hover text.
        accuracy: Accuracy on the validation set, 0 to 1; of a pruned student at its last rung.
        params: Number of parameters.
        latency_ms: Latency of one batch in milliseconds.
        trial: Number of the trial; None for a model which is not the student of any trial.
    """

    kind: str
    label: str
    detail: str
    accuracy: float
    params: int
    latency_ms: float
    trial: int | None


def student_points(
    trials: list[TrialRecord], kinds: Mapping[int, str], measured: Mapping[int, Measurement]
) -> list[Point]:
    """Points of the students.

    Args:
        trials: The run's trials.
        kinds: Kind of point by number of trial; other trials get no point.
        measured: Measurements by width.

    Returns:
        One point per student with a known accuracy.
    """
    points = []
    for trial in trials:
        if trial.number not in kinds or trial.accuracy is None:
            continue
        size = measured[trial.chain[-1]]
        points.append(
            Point(
                kind=kinds[trial.number],
                label=trial.label,
                detail=recipe_text(dict(trial.recipe or {})),
                accuracy=trial.accuracy,
                params=size.params,
                latency_ms=size.latency_ms,
                trial=trial.number,
            )
        )
    return points


def other_points(run: Run) -> list[Point]:
    """Points of the teacher, and of assistants which are not students of a trial.

    Args:
        run: A run, finished or not.

    Returns:
        One point per model that is trained to its end.
    """
    measured, budget = run.manifest.measured, run.manifest.study.limits()
    over = [trial for trial in run.trials if trial.state in ("complete", "pruned")]
    students = {trial.hops[-1].key for trial in over}
    teacher = (run.manifest.study.teacher.width,)
    store, points = run.directory.store(), []
    for key in store.finished():
        record = None if key in students else store.record("hops", key)
        if record is None or record.widths[-1] not in measured:
            continue
        size = measured[record.widths[-1]]
        kind = "assistant" if budget.admits(size) else "over budget"
        points.append(
            Point(
                kind="teacher" if record.widths == teacher else kind,
                label=arrows(record.widths),
                detail="the teacher" if record.widths == teacher else "an assistant",
                accuracy=record.curve[-1],
                params=size.params,
                latency_ms=size.latency_ms,
                trial=None,
            )
        )
    return points
