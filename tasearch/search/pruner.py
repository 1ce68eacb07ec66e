"""What trials are asked at their rungs, by what those that are over have shown."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.hop import Hop, Pupil
from tasearch.chains.keys import derived_seed
from tasearch.pareto.skyline import Bars, Evidence, Finished, Skyline
from tasearch.runs.directory import Snapshot
from tasearch.train.loop import rung_epochs


class Judge:
    """The study's pruner.

    Args:
        snapshot: of the run.
        teacher: of all chains, who is never judged.
    """

    def __init__(self, snapshot: Snapshot, teacher: Pupil) -> None:
        self._search, self._seed = snapshot.study.search, snapshot.study.seed
        self._teacher, self._measured = teacher, snapshot.measured
        rule = {name: getattr(self._search, name) for name in ("quantile", "margin", "evidence")}
        self._evidence = Evidence(Skyline(**rule))
        self._counted: set[str] = set()  # students that are evidence; two trials may have one

    def learn(self, trial: FrozenTrial) -> str | None:
        """Take in a trial that is over; the key of its student where that is new evidence."""
        key = trial.user_attrs["hops"][-1]["key"] if trial.user_attrs["hops"] else ""
        if trial.state != TrialState.COMPLETE or key in self._counted:
            return None
        self._counted.add(key)
        size = self._measured[trial.user_attrs["chain"][-1]]
        curve = tuple(trial.user_attrs["curve"])
        student = Finished(
            curve=curve,
            accuracies=tuple(trial.user_attrs.get("accuracies", curve[-1:])),
            params=size.params,
            latency_ms=size.latency_ms,
            assistants=self._assistants(trial),
        )
        self._evidence.add(student)
        return key

    def bars(self, hop: Hop, student: Hop) -> Bars:
        """What a hop of a student's chain is asked; nothing, where it is the teacher's."""
        recipe, size = hop.pupil.recipe, self._measured[student.pupil.width]
        if self._search.pruner != "skyline" or recipe is None:
            return ()
        if hop.lineage == (self._teacher,):
            return ()
        rungs = len(rung_epochs(recipe.epochs, self._search.rungs))
        return self._evidence.bars(
            rungs, params=size.params, latency_ms=size.latency_ms, assistant=hop != student
        )

    def audits(self, proposal: int) -> bool:
        """Whether a proposal runs on where it should be stopped; drawn by its number."""
        return derived_seed("audit", self._seed, proposal) / 2**63 < self._search.audit

    def _assistants(self, trial: FrozenTrial) -> tuple[float, ...]:
        """Accuracies of the assistants before a student."""
        uses = trial.user_attrs["hops"][:-1]
        return tuple(use["accuracy"] for use in uses if use["width"] != self._teacher.width)
