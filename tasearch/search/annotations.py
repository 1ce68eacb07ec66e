"""What a search notes with its trials and its study, for those who look at them in Optuna."""

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
    """What follows from trials that are over, and from what was measured.

    Args:
        manifest: of the run.
        hops: of the run.
        teacher: of all chains.

    Attributes:
        complete: keys of the students of complete trials.
        failed: by key of a hop, the number of the last trial that it failed.
    """

    def __init__(self, manifest: Manifest, hops: HopExecutor, teacher: ModelSpec) -> None:
        self._hops, self._teacher = hops, teacher
        self._measured, self._samples = manifest.measured, manifest.trained_samples
        self._limits, self._excesses = limits_of(manifest), excesses(manifest)
        self._trial_of: dict[str, int] = {}  # the last that was begun, by its student's hop
        self._accuracy: dict[int, float] = {}  # of complete trials
        self._failed_hops: dict[int, str] = {}  # by number of trial
        self.complete: set[str] = set()
        self.failed: dict[str, int] = {}

    def constraints(self) -> dict[int, list[float]]:
        """How far each width is above the limits of the budget: at most zero within it."""
        return self._excesses

    def note_study(self, trials: Trials) -> None:
        """The budget, and the teacher's accuracy where it is known."""
        trials.note_study("budget", {f"max_{name}": value for name, value in self._limits.items()})
        self.note_teacher(trials)

    def note_teacher(self, trials: Trials) -> None:
        """The teacher's accuracy, once it is known."""
        teacher = Hop(lineage=(self._teacher,))
        if trials.study_note("teacher_accuracy") is None and self._hops.has(teacher):
            saved = self._hops.saved(teacher)
            assert saved is not None
            trials.note_study("teacher_accuracy", saved.curve[-1])

    def direct(self, number: int, student: Hop) -> int | None:
        """The trial that distils the same student straight from the teacher, if it was begun before
        and is another; the trial is known from now on.

        Args:
            number: The trial's number.
            student: Its student's hop.
        """
        found = None
        if student.lineage[0] == self._teacher and len(student.lineage) > 2:
            straight = Hop(lineage=(self._teacher, student.model))
            found = self._trial_of.get(self._hops.key(straight))
        self._trial_of[self._hops.key(student)] = number
        return found

    def attributes(self, running_trial: RunningTrial, ended: TrialResult) -> dict[str, Any]:
        """Attributes of a trial that is over."""
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
        """Take in a trial that is over."""
        attrs: Mapping[str, Any] = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            self._accuracy[trial.number] = trial.values[0]
            self.complete.add(self._hops.key(chain.hop()))
        elif attrs.get("failed_hop"):
            key = str(attrs["failed_hop"])
            self._failed_hops[trial.number] = key
            self.failed[key] = max(trial.number, self.failed.get(key, 0))

    def failed_hop(self, retry: FrozenTrial) -> str:
        """The hop that failed the trial that another tries again; empty where none is known."""
        number = retry_of(retry)
        return self._failed_hops.get(number, "") if number is not None else ""


def limits_of(manifest: Manifest) -> dict[str, float]:
    """The limits of a study's budget that there are, by what they limit."""
    budget = manifest.study.limits()
    limits = {
        "params": budget.max_params,
        "bytes": budget.max_bytes,
        "latency_ms": budget.max_latency_ms,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def excesses(manifest: Manifest) -> dict[int, list[float]]:
    """How far each width is above the limits of a study's budget: at most zero within them; empty
    without limits."""
    limits = limits_of(manifest)
    if not limits:
        return {}
    return {
        width: [float(getattr(size, name) - limit) for name, limit in limits.items()]
        for width, size in manifest.measured.items()
    }
