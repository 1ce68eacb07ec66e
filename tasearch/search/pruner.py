"""The study's pruner: the thresholds of trials at their rungs, from the trials that have ended."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.keys import derived_seed
from tasearch.chains.rungs import rung_epochs
from tasearch.pareto.skyline import FinishedStudent, PruningRule, StudentHistory, Thresholds
from tasearch.runs.directory import Manifest


class SkylinePruner:
    """Pruning by optimistic skyline, see `tasearch.pareto.skyline`.

    Args:
        manifest: The run's manifest.
        teacher: The teacher of all chains, which is never pruned.
    """

    def __init__(self, manifest: Manifest, teacher: ModelSpec) -> None:
        self._search, self._seed = manifest.study.search, manifest.study.seed
        self._teacher, self._measured = teacher, manifest.measured
        rule = {
            name: getattr(self._search, name)
            for name in ("gain_quantile", "noise_margin", "n_startup_trials")
        }
        self._history = StudentHistory(PruningRule(**rule))
        self._counted: set[str] = set()  # keys of students; two trials may have the same student

    def learn(self, trial: FrozenTrial) -> str | None:
        """Take in a trial that has ended.

        Returns:
            The key of its student, if the student is complete and was not known before.
        """
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
        """The thresholds of a hop at its rungs; none for the teacher.

        Args:
            hop: A hop of a chain.
            student: The hop of the student in which the chain ends.
        """
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
        """Whether a proposal is not stopped by the rule, in order to measure the rule.

        Args:
            proposal: Number of the proposal, from which the answer is drawn.
        """
        return derived_seed("audit", self._seed, proposal) / 2**63 < self._search.audit_fraction

    def _assistants(self, trial: FrozenTrial) -> tuple[float, ...]:
        """Accuracies of the assistants in the trial's chain."""
        uses = trial.user_attrs["hops"][:-1]
        return tuple(use["accuracy"] for use in uses if use["width"] != self._teacher.width)
