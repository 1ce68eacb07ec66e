"""What is known best of a student: on fresh seeds if it was confirmed, else in the search."""

from __future__ import annotations

from tasearch.pareto.candidate import Candidate
from tasearch.report.intervals import Interval, score_interval
from tasearch.runs.run import Run


def known_interval(run: Run, candidate: Candidate) -> Interval | None:
    """The 95 % interval of a candidate's score, on fresh seeds if it was confirmed."""
    arm = run.fresh_arm(candidate)
    if arm is None:
        return searched_interval(run, candidate)
    known = [accuracy for accuracy in arm.accuracies if accuracy is not None]
    return score_interval(run.metric, known, run.manifest.validation, arm.errors)


def searched_interval(run: Run, candidate: Candidate) -> Interval | None:
    """The 95 % interval of a candidate's score in the search."""
    trial = run.trials[candidate.trial]
    found = trial.accuracies or (candidate.accuracy,)
    return score_interval(run.metric, found, run.manifest.validation, trial.errors)
