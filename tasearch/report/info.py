"""Contents of a report as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import Metric
from tasearch.report.answer import Answer, answer_of
from tasearch.report.audit import AuditCount, audit_count
from tasearch.report.front_view import FrontView
from tasearch.report.gains import Gain, gains_of
from tasearch.report.head import Head, head_of
from tasearch.report.rows import Row, rows_of
from tasearch.report.search_cost import (
    HopNode,
    Spent,
    Step,
    costs_beyond_teacher,
    hop_tree,
    progress_of,
    spent_of,
)
from tasearch.report.status import teacher_accuracy
from tasearch.report.text import ties_text
from tasearch.runs.importance import importance_of
from tasearch.runs.records import Costs
from tasearch.runs.run import Run
from tasearch.runs.test_reads import ReadOfTest


@dataclass(frozen=True, kw_only=True)
class Info:
    """Contents of a whole report.

    Args:
        run: Path of the run's folder.
        head: What the run is of, and what its reader should be warned of.
        answer: What to ship within the study's budget; None where no student is finished.
        metric: What is meant by accuracy here: the metric of the study.
        class_names: Names of the classes by number.
        rows: All trials.
        choices: Numbers of the trials that may be picked for a budget, one for each student width,
            in the order of `Run.choices`.
        view: What the figure of the front shows.
        gains: What assistants do to the student of each width.
        teacher: Size and latency of the teacher.
        measured: Size and latency of each width.
        ties: Widths that count as equally fast, in words.
        modes: How the models of each width train, in words.
        costs: Training costs of the search.
        beyond: The same without the teacher.
        spent: Training FLOPs by kind of model.
        progress: The front after each trial.
        importance: How much each parameter sets the best students apart, shares by name.
        tree: All hops.
        audit: Result of the audit of pruning.
        reads: Reads of the held-out test set so far.
        study: The study file.
        digests: What the results depend on, by name.
    """

    run: str
    head: Head
    answer: Answer | None
    metric: Metric
    class_names: tuple[str, ...]
    rows: tuple[Row, ...]
    choices: tuple[int, ...]
    view: FrontView
    gains: tuple[Gain, ...]
    teacher: Measurement
    measured: tuple[Measurement, ...]
    ties: str
    modes: Mapping[int, str]
    costs: Costs
    beyond: Costs
    spent: Spent
    progress: tuple[Step, ...]
    importance: Mapping[str, float]
    tree: tuple[HopNode, ...]
    audit: AuditCount
    reads: tuple[ReadOfTest, ...]
    study: str
    digests: Mapping[str, str]


def _teacher_text(study: Study) -> str:
    """The teacher in words, such as "teacher resnet18"."""
    label = study.teacher.label or str(study.teacher.width)
    return "teacher" if label == "teacher" else f"teacher {label}"


def report_info(run: Run) -> Info:
    """Collect everything that a run's page shows.

    Args:
        run: A run, finished or not.

    Raises:
        RunError: A file of the run is damaged.
    """
    manifest, rows = run.manifest, rows_of(run)
    study, teacher = manifest.study, manifest.study.teacher.width
    return Info(
        run=str(run.place),
        head=head_of(run),
        answer=answer_of(run, rows),
        metric=run.metric,
        class_names=manifest.class_names,
        rows=rows,
        choices=tuple(candidate.trial for candidate in run.choices),
        view=FrontView(
            rows=rows,
            samples=manifest.validation,
            teacher=_teacher_text(study),
            teacher_accuracy=teacher_accuracy(run),
            metric=run.metric,
        ),
        gains=gains_of(run, rows),
        teacher=manifest.measured[teacher],
        measured=tuple(
            size
            for size in manifest.measured.values()
            if size.width != teacher or study.teacher.outputs is None
        ),
        ties=ties_text(manifest.measured),
        modes={width: str(mode) for width, mode in manifest.modes.items()},
        costs=run.costs,
        beyond=costs_beyond_teacher(run),
        spent=spent_of(run),
        progress=progress_of(run),
        importance=importance_of(run.trials),
        tree=hop_tree(run.trials),
        audit=audit_count(run.trials),
        reads=run.test_reads,
        study=render(study.model_copy(update={"root": "."}), f"The study {study.name!r}."),
        digests={**manifest.inputs, "identity of the run": manifest.identity},
    )
