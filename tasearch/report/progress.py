"""How far a search is: its training so far, and how long the rest takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from statistics import fmean

from tasearch.chains.hop import ModelSpec
from tasearch.chains.space import Space
from tasearch.report.time_left import Range, Work, work_of_trials
from tasearch.report.training_times import TrainingTimes
from tasearch.runs.manifest import Manifest
from tasearch.runs.records import ENDED, TrialRecord
from tasearch.runs.run import Run

HOUR_S = 3600.0


class Progress:
    """The training of a search, which is told hop by hop and trial by trial.

    Args:
        manifest: The run's manifest.
        trials: Trials that earlier searches have ended.
        teacher: Whether the teacher is stored.
        workers: Number of workers.
        spent: Seconds of earlier searches.
    """

    def __init__(
        self,
        manifest: Manifest,
        trials: Iterable[TrialRecord] = (),
        *,
        teacher: bool = False,
        workers: int = 1,
        spent: float = 0.0,
    ) -> None:
        section = manifest.study.teacher
        self._manifest, self._workers, self._spent = manifest, workers, spent
        self._teacher_epochs = 0 if section.loaded or teacher else section.epochs
        self._times = TrainingTimes(manifest)
        self._paid: Counter[str] = Counter()  # epochs of each hop in the trials that have ended
        self._costs: list[Work] = []  # of the ended trials that are no baselines
        self._baselines = _baselines(manifest)
        for trial in trials:
            self.end_trial(trial)

    def start(self, key: str, label: str, epoch: int, seconds: float = 0.0) -> None:
        """Take in the start of a hop.

        Args:
            key: The hop's key.
            label: Its lineage in words, such as `64 → 12`.
            epoch: Number of epochs done before.
            seconds: Seconds of the search so far.
        """
        self._times.start(key, label, epoch, seconds)

    def reach(self, key: str, epoch: int, seconds: float) -> None:
        """Take in that a hop has been trained up to an epoch.

        Args:
            key: The hop's key.
            epoch: Number of epochs done.
            seconds: Seconds of the search so far.
        """
        self._times.reach(key, epoch, seconds)

    def end_trial(self, trial: TrialRecord) -> None:
        """Take in a trial that has ended: it pays for its hops, unless one before it has."""
        if trial.free or trial.state not in ENDED:
            return
        cost = Work()
        for use in trial.hops:
            if use.width == self._teacher_width:
                continue
            cost += self._work(use.width, max(0, use.trained - self._paid[use.key]))
            self._paid[use.key] = max(self._paid[use.key], use.trained)
        if len(trial.chain) == 2 and trial.chain[-1] in self._baselines:
            self._baselines.remove(trial.chain[-1])
        else:
            self._costs.append(cost)

    def left(self, seconds: float, trials: int) -> Range | None:
        """The time that is left.

        Args:
            seconds: Seconds of this search so far.
            trials: Number of trials that are left.

        Returns:
            Least and most seconds; None before the first epoch.
        """
        found = self._times.left(seconds, *self._needed(trials))
        if found is None:
            return None
        low, high = found
        if self._teacher_left and self._times.idle(seconds):
            low /= self._workers  # what follows the teacher is trained by all workers
        hours = self._manifest.study.search.max_hours
        most = math.inf if hours is None else max(0.0, hours * HOUR_S - self._spent - seconds)
        return min(most, low), min(most, high)

    def _needed(self, trials: int) -> tuple[Work, Work]:
        """The training that is left, least and most."""
        student = self._manifest.study.student
        planned = self._baselines[:trials]
        known = self._work(self._teacher_width, self._teacher_left)
        for width in planned:
            known += self._work(width, student.epochs)
        low, high = work_of_trials(trials - len(planned), self._costs, *self._per_trial())
        begun = Work()
        for key, (width, epoch) in self._times.reached.items():
            if width != self._teacher_width:
                begun += self._work(width, max(0, epoch - self._paid[key]))
        return (low + known).less(begun), (high + known).less(begun)

    def _per_trial(self) -> tuple[Work, Work]:
        """The training of a trial: of its student alone, and with assistants of its own."""
        study = self._manifest.study
        students = [w for w in self._manifest.candidates if w in study.student.widths]
        own = _mean([self._work(width, study.student.epochs) for width in students])
        assistants = study.assistants
        if not assistants.max:
            return own, own
        other = _mean([self._work(width, assistants.epochs) for width in assistants.widths])
        most = min(assistants.max, len(assistants.widths))
        return own, own + other * ((assistants.min + most) / 2)

    @property
    def _teacher_width(self) -> int:
        return self._manifest.study.teacher.width

    @property
    def _teacher_left(self) -> int:
        """Number of epochs that the teacher still needs."""
        teacher = (e for w, e in self._times.reached.values() if w == self._teacher_width)
        return max(0, self._teacher_epochs - max(teacher, default=0))

    def _work(self, width: int, epochs: int) -> Work:
        return self._times.work(width, epochs)


def logged_time_left(run: Run, trials: int, now: float) -> Range | None:
    """The time that is left of a run, from its event log.

    Args:
        run: The run.
        trials: Number of trials that are left.
        now: The time, in seconds since 1970.

    Returns:
        Least and most seconds; None before the first rung.
    """
    history, store = run.directory.history(), run.directory.store(lambda damage: None)
    progress, seconds = Progress(run.manifest), 0.0
    open_hops: set[str] = set()
    for seconds, event in history.timed():
        key = str(event.get("hop"))
        if event["event"] == "start":
            progress.start(key, event["label"], event["epoch"], seconds)
            open_hops.add(key)
        elif key in open_hops:
            open_hops.discard(key)
            progress.reach(key, event.get("epoch", 0), seconds)
    if run.directory.busy and history.events:
        seconds += max(0.0, now - history.events[-1]["time"])
    for key in open_hops:
        saved = store.record("checkpoints", key)
        progress.reach(key, saved.epoch if saved else 0, seconds)
    for trial in run.trials:
        progress.end_trial(trial)
    return progress.left(seconds, trials)


def _baselines(manifest: Manifest) -> list[int]:
    """Widths of the students of the chains without assistants that are tried first."""
    study = manifest.study
    if not study.search.begins_with_baselines:
        return []
    space = Space(
        teacher=ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe()),
        assistant_widths=(),
        student_widths=tuple(w for w in study.student.widths if w in manifest.candidates),
        min_assistants=study.assistants.min,
        max_assistants=0,
        assistant_recipes=study.recipes("assistants"),
        student_recipes=study.recipes("student"),
    )
    return [chain.student.width for chain in space.baselines()]


def _mean(works: list[Work]) -> Work:
    return Work(
        flops=fmean(work.flops for work in works), epochs=fmean(work.epochs for work in works)
    )
