"""What trials are asked at their rungs, by what those that are over have shown."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.keys import derived_seed
from tasearch.pareto.skyline import FinishedStudent, Skyline, StudentHistory, Thresholds
from tasearch.runs.directory import Manifest
from tasearch.train.loop import rung_epochs


class SkylinePruner:
    """The study's pruner.

    Args:
        manifest: of the run.
        teacher: of all chains, who is never judged.
    """

    def __init__(self, manifest: Manifest, teacher: ModelSpec) -> None:
        self._search, self._seed = manifest.study.search, manifest.study.seed
        self._teacher, self._measured = teacher, manifest.measured
        rule = {
            name: getattr(self._search, name)
            for name in ("gain_quantile", "noise_margin", "n_startup_trials")
        }
        self._history = StudentHistory(Skyline(**rule))
        self._counted: set[str] = set()  # students that are evidence; two trials may have one

    def learn(self, trial: FrozenTrial) -> str | None:
        """Take in a trial that is over; the key of its student where that is new evidence."""
        key = trial.user_attrs["hops"][-1]["key"] if trial.user_attrs["hops"] else ""
        if trial.state != TrialState.COMPLETE or key in self._counted:
            return None
        self._counted.add(key)
        size = self._measured[trial.user_attrs["chain"][-1]]
        curve = tuple(trial.user_attrs["curve"])
        student = FinishedStudent(
            curve=curve,
            accuracies=tuple(trial.user_attrs.get("accuracies", curve[-1:])),
            params=size.params,
            latency_ms=size.latency_ms,
            assistants=self._assistants(trial),
        )
        self._history.add(student)
        return key

    def thresholds(self, hop: Hop, student: Hop) -> Thresholds:
        """What a hop of a student's chain is asked; nothing, where it is the teacher's."""
        recipe, size = hop.model.recipe, self._measured[student.model.width]
        if self._search.pruner != "skyline" or recipe is None:
            return ()
        if hop.lineage == (self._teacher,):
            return ()
        rungs = len(rung_epochs(recipe.epochs, self._search.rungs))
        return self._history.thresholds(
            rungs, params=size.params, latency_ms=size.latency_ms, assistant=hop != student
        )

    def audits(self, proposal: int) -> bool:
        """Whether a proposal runs on where it should be stopped; drawn by its number."""
        return derived_seed("audit", self._seed, proposal) / 2**63 < self._search.audit_fraction

    def _assistants(self, trial: FrozenTrial) -> tuple[float, ...]:
        """Accuracies of the assistants before a student."""
        uses = trial.user_attrs["hops"][:-1]
        return tuple(use["accuracy"] for use in uses if use["width"] != self._teacher.width)
