"""What is known best of a student: on fresh seeds if it was confirmed, else in the search."""

from __future__ import annotations

from tasearch.pareto.candidate import Candidate
from tasearch.report.intervals import Interval, accuracy_interval
from tasearch.runs.run import Run


def known_interval(run: Run, candidate: Candidate) -> Interval:
    """The 95 % interval of a candidate's accuracy, on fresh seeds if it was confirmed."""
    arm = run.fresh_arm(candidate)
    if arm is None:
        return searched_interval(run, candidate)
    known = [accuracy for accuracy in arm.accuracies if accuracy is not None]
    return accuracy_interval(known, run.manifest.validation)


def searched_interval(run: Run, candidate: Candidate) -> Interval:
    """The 95 % interval of a candidate's accuracy in the search."""
    found = run.trials[candidate.trial].accuracies or (candidate.accuracy,)
    return accuracy_interval(found, run.manifest.validation)
