"""Attributes that a search gives to its trials and its study, for people who use Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.runs.directory import Manifest
from tasearch.runs.records import training_flops
from tasearch.runs.trial_attributes import retry_of
from tasearch.search.executor import HopExecutor
from tasearch.search.running_trials import RunningTrial, TrialResult
from tasearch.search.trials import Trials


class Annotations:
    """What follows from ended trials and from measurements.

    Args:
        manifest: The run's manifest.
        hops: The hops of the run.
        teacher: The teacher of all chains.

    Attributes:
        complete: Keys of the hops that are the student of a complete trial.
        failed: Number of the last trial that a hop has failed, by the hop's key.
    """

    def __init__(self, manifest: Manifest, hops: HopExecutor, teacher: ModelSpec) -> None:
        self._hops, self._teacher = hops, teacher
        self._measured, self._samples = manifest.measured, manifest.trained_samples
        self._limits, self._excesses = limits_of(manifest), excesses(manifest)
        self._trial_of: dict[str, int] = {}  # number of the last trial, by key of its student
        self._accuracy: dict[int, float] = {}  # of complete trials, by number
        self._failed_hops: dict[int, str] = {}  # key of the hop that failed a trial, by number
        self.complete: set[str] = set()
        self.failed: dict[str, int] = {}

    def constraints(self) -> dict[int, list[float]]:
        """By width, how far a student exceeds each limit of the budget; feasible if <= 0."""
        return self._excesses

    def annotate_study(self, trials: Trials) -> None:
        """Give the study its budget, and the teacher's accuracy if it is known."""
        limits = {f"max_{name}": value for name, value in self._limits.items()}
        trials.set_study_attribute("budget", limits)
        self.annotate_teacher(trials)

    def annotate_teacher(self, trials: Trials) -> None:
        """Give the study the teacher's accuracy, once it is known."""
        teacher = Hop(lineage=(self._teacher,))
        if trials.study_attribute("teacher_accuracy") is None and self._hops.has(teacher):
            saved = self._hops.saved(teacher)
            assert saved is not None
            trials.set_study_attribute("teacher_accuracy", saved.curve[-1])

    def direct(self, number: int, student: Hop) -> int | None:
        """The trial that distils the same student directly from the teacher.

        The trial that asks is known from now on.

        Args:
            number: Number of the trial that asks.
            student: The hop of its student.

        Returns:
            The number of the direct trial; None if none was started before, or this is one.
        """
        found = None
        if student.lineage[0] == self._teacher and len(student.lineage) > 2:
            straight = Hop(lineage=(self._teacher, student.model))
            found = self._trial_of.get(self._hops.key(straight))
        self._trial_of[self._hops.key(student)] = number
        return found

    def attributes(self, running_trial: RunningTrial, ended: TrialResult) -> dict[str, Any]:
        """The attributes of a trial that has ended.

        Args:
            running_trial: The trial as it was running.
            ended: How it has ended.
        """
        flops = sum(
            training_flops(use["width"], use["trained"], self._samples, self._measured)
            for use in ended.attrs["hops"]
        )
        size = self._measured[running_trial.student.model.width]
        attrs = {"bytes": size.bytes, "training_flops": flops}
        if ended.accuracy is not None and running_trial.direct in self._accuracy:
            attrs["gain_over_direct"] = ended.accuracy - self._accuracy[running_trial.direct]
        return attrs

    def learn(self, trial: FrozenTrial, chain: Chain) -> None:
        """Take in a trial that has ended."""
        attrs: Mapping[str, Any] = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            self._accuracy[trial.number] = trial.values[0]
            self.complete.add(self._hops.key(chain.hop()))
        elif attrs.get("failed_hop"):
            key = str(attrs["failed_hop"])
            self._failed_hops[trial.number] = key
            self.failed[key] = max(trial.number, self.failed.get(key, 0))

    def failed_hop(self, retry: FrozenTrial) -> str:
        """Key of the hop that failed the trial which another repeats; empty if it is not known."""
        number = retry_of(retry)
        return self._failed_hops.get(number, "") if number is not None else ""


def limits_of(manifest: Manifest) -> dict[str, float]:
    """The limits of a study's budget, by the name of the measurement that they limit."""
    budget = manifest.study.limits()
    limits = {
        "params": budget.max_params,
        "bytes": budget.max_bytes,
        "latency_ms": budget.max_latency_ms,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def excesses(manifest: Manifest) -> dict[int, list[float]]:
    """By width, how far a model exceeds each limit of a study's budget; feasible if <= 0.

    It is empty if the budget has no limits.
    """
    limits = limits_of(manifest)
    if not limits:
        return {}
    return {
        width: [float(getattr(size, name) - limit) for name, limit in limits.items()]
        for width, size in manifest.measured.items()
    }
