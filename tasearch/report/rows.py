"""The rows of a report: one for each trial, with all that is shown of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tasearch.chains.chain import Teaching, teaching
from tasearch.chains.sizes import plain
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.report.intervals import Interval, apart, score_interval
from tasearch.report.known import known_interval
from tasearch.report.text import recipe_text, searched_text
from tasearch.runs.leads import direct_trials, labels_trial, same_student
from tasearch.runs.quality import Quality
from tasearch.runs.records import TrialRecord, training_flops
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Link:
    """One model of a chain.

    Args:
        role: "teacher", "assistant" or "student".
        width: Width of the model.
        name: What it is called in chains: its width, or the name of its size or of the teacher.
        params: Number of parameters.
        accuracy: Accuracy on the validation set, 0 to 1; None if the model is not trained.
    """

    role: str
    width: int
    name: int | str
    params: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What a chain has reached on fresh seeds.

    Args:
        accuracy: Mean accuracy on the validation set, 0 to 1.
        interval: Its 95 % interval.
        test: Mean accuracy on the held-out test set.
        seeds: Number of seeds.
        quality: What else is known of it on the test set, mean over the seeds; None if nothing is.
    """

    accuracy: float
    interval: Interval
    test: float | None
    seeds: int
    quality: Quality | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial.

    Args:
        trial: Number of the trial.
        state: State of the trial, as in `TrialRecord`.
        teaching: What the student learns from.
        chain: Widths of the chain, the teacher's first.
        label: The chain in words.
        models: The models of the chain, the teacher first; without assistants and teacher that
            have no influence on the student.
        accuracy: Accuracy on the validation set, 0 to 1, mean over replicates; of a pruned student
            at its last rung; None before the first one.
        interval: Its 95 % interval.
        replicates: Accuracy of each replicate.
        params: Number of parameters of the student.
        bytes: Bytes of its weights and buffers.
        latency_ms: Latency of one batch in milliseconds.
        latency_p95_ms: The 95th percentile of the timings.
        by_length: Length and latency for each of `latency.lengths`; the last is `latency_ms`.
        recipe: The recipe in words.
        searched: The fields of the recipe that differ between trials, in words.
        reason: Why the trial failed or was pruned.
        free: Whether the student is an assistant of another trial's chain.
        within: Whether the student is within the budget.
        front: Whether it is a member of the front.
        shipped: Whether it is what a verdict ships of its width.
        smaller: Number of the trial of the smallest student that may be shipped, is smaller than
            this one, and cannot be told apart from it; None if there is none.
        over_direct: Accuracy less that of direct distillation with the same recipe; None without
            assistants, or where that was not trained.
        over_labels: Accuracy less that of the best student of this width without a teacher.
        confirmed: What the chain has reached on fresh seeds; None if it was not confirmed.
        flops: Training FLOPs of its models beyond the teacher, all replicates.
        epochs: Epochs after which the accuracy was measured.
        curve: Accuracy after each of these epochs.
        recalls: Recall of each class on the validation set, 0 to 1, mean over replicates; empty
            where it was not measured.
        metric: What is meant by accuracy here: the metric of the study.
    """

    trial: int
    state: str
    teaching: Teaching
    chain: tuple[int, ...]
    label: str
    models: tuple[Link, ...]
    accuracy: float | None
    interval: Interval | None
    replicates: tuple[float, ...]
    params: int
    bytes: int
    latency_ms: float
    latency_p95_ms: float
    by_length: tuple[tuple[int, float], ...] = ()
    recipe: str
    searched: str
    reason: str
    free: bool
    within: bool
    front: bool
    shipped: bool = False
    smaller: int | None = None
    over_direct: float | None = None
    over_labels: float | None = None
    confirmed: Confirmed | None = None
    flops: float
    epochs: tuple[int, ...]
    curve: tuple[float, ...]
    recalls: tuple[float | None, ...] = ()
    metric: Metric = ACCURACY

    @property
    def width(self) -> int:
        """The width of the student."""
        return self.models[-1].width

    @property
    def known(self) -> tuple[float, Interval]:
        """Accuracy and interval of a finished student: on fresh seeds if it was confirmed."""
        if self.confirmed is not None:
            return self.confirmed.accuracy, self.confirmed.interval
        assert self.accuracy is not None and self.interval is not None
        return self.accuracy, self.interval

    @property
    def finished(self) -> bool:
        """Whether the student was trained to its end and is within the budget."""
        return self.state == "complete" and self.accuracy is not None and self.within


def rows_of(run: Run) -> tuple[Row, ...]:
    """A row for each trial whose chain is known, in their order.

    Args:
        run: A run, finished or not.
    """
    trials = [trial for trial in run.trials if trial.chain and trial.recipe]
    members = {candidate.trial for candidate in run.front.members}
    searched = searched_text([trial.recipe or {} for trial in trials])
    rows = [
        _row(run, trial, words, front=trial.number in members)
        for trial, words in zip(trials, searched, strict=True)
    ]
    rows = _with_leads(rows, trials)
    if run.confirmations:
        rows = _with_confirmation(run, rows)
    return tuple(_with_smaller(rows, {candidate.trial for candidate in run.choices}))


def row_of(run: Run, trial: int) -> Row:
    """The row of one trial, whose chain is known.

    Args:
        run: A run, finished or not.
        trial: Number of the trial.
    """
    return next(row for row in rows_of(run) if row.trial == trial)


def _row(run: Run, trial: TrialRecord, searched: str, *, front: bool) -> Row:
    manifest = run.manifest
    size = manifest.measured[trial.chain[-1]]
    interval = None
    if trial.accuracy is not None:
        own = trial.accuracies or (trial.accuracy,)
        interval = score_interval(run.metric, own, manifest.validation, trial.errors)
    return Row(
        trial=trial.number,
        state=trial.state,
        teaching=teaching(trial.chain, trial.recipe),
        chain=trial.chain,
        label=trial.label,
        models=_links(run, trial),
        accuracy=trial.accuracy,
        interval=interval,
        replicates=trial.accuracies,
        params=size.params,
        bytes=size.bytes,
        latency_ms=size.latency_ms,
        latency_p95_ms=size.latency_p95_ms,
        by_length=size.by_length,
        recipe=recipe_text(dict(trial.recipe or {})),
        searched=searched,
        reason=trial.reason or "",
        free=trial.free,
        within=manifest.study.limits().admits(size),
        front=front,
        shipped=trial.number in run.shipped_trials,
        flops=sum(
            training_flops(use.width, use.epochs, manifest.trained_samples, manifest.measured)
            for use in trial.hops
            if use.width != manifest.study.teacher.width
        ),
        epochs=trial.epochs,
        curve=trial.curve,
        recalls=trial.recalls,
        metric=run.metric,
    )


def _links(run: Run, trial: TrialRecord) -> tuple[Link, ...]:
    """The models that a trial's student learns from, and the student."""
    measured, section = run.manifest.measured, run.manifest.study.teacher
    known = {use.width: use.accuracy for use in trial.hops if use.trained == use.epochs}
    widths = [use.width for use in trial.hops] or list(trial.chain)
    roles = {section.width: "teacher", trial.chain[-1]: "student"}
    return tuple(
        Link(
            role=roles.get(width, "assistant"),
            width=width,
            name=(section.label if width == section.width else "") or plain(width),
            params=measured[width].params,
            accuracy=known.get(width),
        )
        for width in widths
    )


def _with_leads(rows: Sequence[Row], trials: Sequence[TrialRecord]) -> list[Row]:
    """The rows with what each student is ahead of the one without assistants, or a teacher."""
    direct = direct_trials(trials)
    alone = {width: labels_trial(trials, width) for width in {row.width for row in rows}}
    found = []
    for row, trial in zip(rows, trials, strict=True):
        if row.finished and row.accuracy is not None:
            plain = direct.get(same_student(trial)) if row.teaching == "assistants" else None
            labels = alone.get(row.width) if row.teaching != "no teacher" else None
            row = replace(
                row,
                over_direct=_difference(row.accuracy, plain.accuracy if plain else None),
                over_labels=_difference(row.accuracy, labels.accuracy if labels else None),
            )
        found.append(row)
    return found


def _difference(accuracy: float, other: float | None) -> float | None:
    return None if other is None else accuracy - other


def _with_smaller(rows: Sequence[Row], shipped: Collection[int]) -> list[Row]:
    """The rows with the smallest student to ship that is as good, as far as can be told.

    Args:
        rows: The rows.
        shipped: Trials of the students that may be shipped, one for each width.
    """
    choices = sorted((r for r in rows if r.trial in shipped), key=lambda row: row.params)
    return [replace(row, smaller=_smaller(row, choices)) if row.finished else row for row in rows]


def _smaller(row: Row, choices: Sequence[Row]) -> int | None:
    for other in choices:
        if other.params >= row.params:
            return None
        if not apart(*row.known, *other.known):
            return other.trial
    return None


def _with_confirmation(run: Run, rows: Sequence[Row]) -> list[Row]:
    """The rows with what was reached on fresh seeds."""
    by_trial = {candidate.trial: candidate for candidate in run.front.candidates}
    return [
        replace(row, confirmed=_confirmed(run, by_trial[row.trial])) if row.finished else row
        for row in rows
    ]


def _confirmed(run: Run, candidate: Candidate) -> Confirmed | None:
    arm, interval = run.fresh_arm(candidate), known_interval(run, candidate)
    if arm is None or interval is None:
        return None
    return Confirmed(
        accuracy=run.known_accuracy(candidate),
        interval=interval,
        test=arm.test_accuracy,
        seeds=arm.seeds,
        quality=arm.quality,
    )
