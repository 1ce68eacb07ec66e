"""Leads of chains with assistants in a search, counted in samples, before any verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasearch.chains.chain import teaching
from tasearch.chains.keys import canonical_json
from tasearch.chains.sizes import sized
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.runs.records import ENDED, TrialRecord
from tasearch.runs.run import Run

NO_INFLUENCE = ("guidance", "teacher_dropout")  # fields of a recipe, with one teacher


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How far a student with assistants is ahead of the same student distilled directly.

    Args:
        samples: Samples of the validation set that it has right in addition, mean over replicates;
            None for a metric that is no proportion of samples.
        validation: Samples in the validation set.
        chains: Finished chains with assistants that end in this student, of which it is the best.
        seeds: Replicates of each chain.
        direct: Number of the direct trial, which has the same recipe.
        difference: Difference of the scores.
        metric: What they are compared by.
    """

    samples: float | None
    validation: int
    chains: int
    seeds: int
    direct: int
    difference: float = 0.0
    metric: Metric = ACCURACY

    @property
    def words(self) -> str:
        """Such as `lead over direct: 1 of 359 samples, best of 6 chains, one seed: not ...`."""
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        chains = f"best of {self.chains} chains" if self.chains > 1 else "one chain"
        gap = self.metric.difference_words(self.difference)
        if self.samples is not None:
            gap = f"{self.samples:.4g} of {self.validation} samples"
        return f"lead over direct: {gap}, {chains}, {seeds}: not confirmed"

    @property
    def content(self) -> dict[str, Any]:
        """The values by name, for programs."""
        names = ("difference", "samples", "validation", "chains", "seeds", "direct")
        return {name: getattr(self, name) for name in names}


def lead_over_direct(run: Run, candidate: Candidate) -> Lead | None:
    """A candidate's lead over direct distillation with the same recipe.

    Args:
        run: The run.
        candidate: A finished student.

    Returns:
        The lead, which may be negative; None for a student without assistants, and where the direct
        chain was not trained to its end.
    """
    if teaching(candidate.chain, candidate.recipe) != "assistants":
        return None
    direct = direct_trials(run.trials).get(same_student(candidate))
    if direct is None or direct.accuracy is None:
        return None
    validation, width = run.manifest.validation, candidate.chain[-1]
    rivals = [c for c in run.front.candidates if len(c.chain) > 2 and c.chain[-1] == width]
    difference, metric = candidate.accuracy - direct.accuracy, run.metric
    return Lead(
        difference=difference,
        metric=metric,
        samples=round(difference * validation, 6) if metric.proportion else None,
        validation=validation,
        chains=len(rivals),
        seeds=run.manifest.study.search.replicates,
        direct=direct.number,
    )


def direct_trials(trials: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """The finished trials that distil a student directly, by what `same_student` gives."""
    found: dict[str, TrialRecord] = {}
    for trial in trials:
        if trial.state == "complete" and teaching(trial.chain, trial.recipe) == "direct":
            found.setdefault(same_student(trial), trial)
    return found


def direct_trial(trials: Iterable[TrialRecord], candidate: Candidate) -> TrialRecord | None:
    """The finished trial that distils a candidate's student directly with the same recipe."""
    return direct_trials(trials).get(same_student(candidate))


def labels_trial(trials: Iterable[TrialRecord], width: int) -> TrialRecord | None:
    """The most accurate student of a width that was trained on the labels alone.

    Args:
        trials: All trials of a run.
        width: Width of the student.

    Returns:
        Its finished trial, the earliest of equal ones; None if there is none.
    """
    alone = (
        trial
        for trial in trials
        if trial.state == "complete"
        and teaching(trial.chain, trial.recipe) == "no teacher"
        and trial.chain[-1] == width
    )
    known = (trial for trial in alone if trial.accuracy is not None)
    return max(known, key=lambda trial: trial.accuracy or 0.0, default=None)


def same_student(of: Candidate | TrialRecord) -> str:
    """A text that two chains share if their students have the same width and the same recipe.

    Args:
        of: A chain.
    """
    student = (of.recipe or {})["student"]
    fields = {name: value for name, value in student.items() if name not in NO_INFLUENCE}
    return canonical_json([of.chain[-1], fields])


def no_assistants_words(run: Run, *widths: int) -> str:
    """Why there is no finished chain with assistants that ends in some widths.

    Args:
        run: The run.
        widths: Widths of students; none for any width.
    """
    if not run.manifest.study.assistants.max:
        return "the study has no assistants"
    chains = (trial.chain for trial in run.trials if trial.state in ENDED)
    tried = any(len(chain) > 2 and chain[-1] in widths for chain in chains)
    ends, what = sized(*widths) if widths else "any width", "trained to its end"
    return f"no chain with assistants that ends in {ends} was {what if tried else 'tried'}"
