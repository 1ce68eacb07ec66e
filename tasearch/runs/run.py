"""A run as it is now: its study, its trials and its front."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from tasearch.config.places import Place, check_place
from tasearch.errors import NothingFits, RunError, quoted
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.metric import Metric
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.journal import read_trials
from tasearch.runs.opening import find_run
from tasearch.runs.records import Costs, TrialRecord, candidates, costs
from tasearch.runs.test_reads import ReadOfTest, reads_of_test
from tasearch.runs.verdict_file import read_confirmations
from tasearch.runs.verdicts import Arm, Confirmation, shipped

ENDS = {  # what has become of a trial that has no finished student
    "pruned": "was pruned",
    "failed": "has failed",
    "running": "was begun and has not ended",
    "waiting": "waits in the queue",
    "refused": "was refused",
    "foreign": "was added by another program",
}


def shortened(value: float) -> float:
    """A value with the digits that a report page has, so that a mean's rounding breaks no tie."""
    return float(f"{value:.7g}")


class Run:
    """A finished or unfinished run; each part is read once, when it is first used.

    Args:
        directory: The run's directory.
        trusted: Whether this process has searched the run, and so has executed its user code.
    """

    def __init__(self, directory: RunDirectory, *, trusted: bool = False) -> None:
        self.directory, self.trusted = directory, trusted

    @classmethod
    def open(cls, run: str | Place, runs_dir: str | Place = "runs") -> Self:
        """A run by its place or by its name.

        Args:
            run: Path or URL of the run, or its name under `runs_dir`.
            runs_dir: The folder or the URL of all runs.

        Raises:
            RunError: There is no such run, or it cannot be opened.
        """
        return cls(find_run(check_place(run, "run"), check_place(runs_dir, "runs_dir")))

    @property
    def path(self) -> Path:
        """Path of the run's folder; of the copy here, if it is at a URL."""
        return self.directory.path

    @property
    def place(self) -> Place:
        """Path or URL of the run."""
        return self.directory.place

    @cached_property
    def manifest(self) -> Manifest:
        """The study, its data and what was measured before the search.

        Raises:
            RunError: A file of the run is damaged.
        """
        return self.directory.read()

    @property
    def metric(self) -> Metric:
        """What its students are compared by."""
        return self.manifest.metric

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """All trials by their numbers.

        Raises:
            RunError: A file of the run is damaged.
        """
        return read_trials(self.directory)

    @cached_property
    def front(self) -> Front:
        """The Pareto front of the students that were trained to their last epoch.

        Students of trials from before the budget was tightened are left out.
        """
        limits = self.manifest.study.limits()
        found = candidates(self.trials, self.manifest.measured, self.manifest.metric)
        return Front(candidate for candidate in found if limits.admits(candidate))

    def best(
        self,
        *,
        max_params: int | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
        trial: int | None = None,
    ) -> Candidate:
        """The student to ship within a budget, or that of one trial.

        That is what `preferred` takes within the budget. Of each student width it is the best chain
        of the search; if that was confirmed, and no verdict says that its assistants help, the same
        student without them, and without a teacher if no verdict says that distillation helps.
        If the file of the verdicts is damaged, `verdicts_damage` says so, and the search alone
        decides.

        Args:
            max_params: Largest number of parameters.
            max_bytes: Largest size in bytes.
            max_latency_ms: Longest latency in milliseconds.
            trial: Number of a finished trial, whose student it is, also if others beat it; it goes
                without a budget.

        Raises:
            NothingFits: No candidate is within the budget, or the trial has no finished student.
            RunError: A trial is given together with a budget.
        """
        budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
        if trial is None:
            return self.best_within(budget)
        if budget != Budget():
            raise RunError("trial: goes without a budget; leave one of the two out")
        return self.candidate(trial)

    def best_within(self, budget: Budget) -> Candidate:
        """The student to ship within a budget, see `best`.

        Raises:
            NothingFits: No candidate is within the budget.
        """
        best = self.preferred([c for c in self.choices if budget.admits(c)])
        return self.front.best(budget) if best is None else best  # the error, if nothing fits

    def preferred(self, choices: Sequence[Candidate]) -> Candidate | None:
        """The best of some choices; None if there are none.

        Like is compared with like. Accuracies of the search are the luckiest of many, those on
        fresh seeds are not: a student that was confirmed would lose to one that was not. So the
        search picks the width, and if fresh seeds have tested that one, the most accurate of all
        widths that they have tested is taken.

        Args:
            choices: Some of `choices`, in that order.
        """
        if not choices or self.fresh_arm(choices[0]) is None:
            return next(iter(choices), None)
        tested = filter(self.fresh_arm, choices)
        return max(tested, key=lambda c: shortened(self.known_accuracy(c)))

    def candidate(self, trial: int) -> Candidate:
        """The student of one finished trial, also of one that others beat.

        Args:
            trial: Number of the trial.

        Raises:
            NothingFits: There is no such trial, or it is not complete.
        """
        if type(trial) is not int or not 0 <= trial < len(self.trials):
            last = len(self.trials) - 1
            known = f"its trials are 0 to {last}" if self.trials else "it has none yet"
            raise NothingFits(f"{self.path}: has no trial {quoted(trial)}; {known}")
        record = self.trials[trial]
        if record.state != "complete":
            why = f" ({record.reason})" if record.reason else ""
            raise NothingFits(
                f"{self.path}: trial {trial} is no finished student: it {ENDS[record.state]}{why}; "
                f"name a trial that is complete{self._such_as}"
            )
        (found,) = candidates([record], self.manifest.measured, self.manifest.metric)
        return found

    @property
    def _such_as(self) -> str:
        """The best finished trial, as the end of a message; empty if there is none."""
        found = self.front.candidates
        return f", such as {found[0].trial}" if found else ""

    @cached_property
    def choices(self) -> tuple[Candidate, ...]:
        """What to ship of each student width, in the order of each width's best in the search.

        Size and latency depend on the width alone, so a budget admits all chains of a width or
        none.
        """
        by_width: dict[int, Candidate] = {}
        for candidate in self.front.candidates:  # the best first
            by_width.setdefault(candidate.chain[-1], candidate)
        return tuple(map(self.shipped, by_width.values()))

    @cached_property
    def shipped_trials(self) -> frozenset[int]:
        """Trials of the students that a verdict ships, at most one for each student width."""
        by_verdict = (c for c in self.choices if self._is_shipped(c))
        return frozenset(candidate.trial for candidate in by_verdict)

    def _is_shipped(self, candidate: Candidate) -> bool:
        """Whether a verdict ships exactly this chain."""
        found = self.confirmation_of(candidate)
        if found is None:
            return False
        arm = shipped(found.of_width(candidate.chain[-1]))
        return arm.is_chain(candidate.chain, candidate.recipe)

    def known_accuracy(self, candidate: Candidate) -> float:
        """A candidate's accuracy on fresh seeds if it was confirmed, else in the search."""
        arm = self.fresh_arm(candidate)
        return candidate.accuracy if arm is None or arm.accuracy is None else arm.accuracy

    def fresh_arm(self, candidate: Candidate) -> Arm | None:
        """What a candidate has reached on fresh seeds; None if it was not trained on any."""
        confirmed = self.confirmed(candidate)
        return None if confirmed is None or confirmed[1].accuracy is None else confirmed[1]

    def trial_of(self, arm: Arm) -> TrialRecord | None:
        """The first trial of an arm's chain, in whatever state; None if the search has none."""
        return next((t for t in self.trials if arm.is_chain(t.chain, t.recipe or {})), None)

    @property
    def confirmations(self) -> list[Confirmation]:
        """What `tasearch confirm` has found, the oldest first; empty if its file is damaged."""
        return self._verdicts[0]

    @property
    def verdicts_damage(self) -> str:
        """What is wrong with the file of the verdicts, in words; empty if nothing is."""
        return self._verdicts[1]

    @cached_property
    def _verdicts(self) -> tuple[list[Confirmation], str]:
        try:
            return read_confirmations(self.path), ""
        except RunError as error:
            return [], str(error)

    @property
    def test_reads(self) -> tuple[ReadOfTest, ...]:
        """The reads of the held-out test set so far; empty if their file is damaged."""
        return self._test_reads[0]

    @property
    def test_reads_damage(self) -> str:
        """What is wrong with the file of these reads, in words; empty if nothing is."""
        return self._test_reads[1]

    @cached_property
    def _test_reads(self) -> tuple[tuple[ReadOfTest, ...], str]:
        try:
            return tuple(reads_of_test(self.path)), ""
        except RunError as error:
            return (), str(error)

    def confirmed(self, candidate: Candidate) -> tuple[Confirmation, Arm] | None:
        """What fresh seeds say of a candidate.

        Args:
            candidate: A finished student.

        Returns:
            The newest finished confirmation that the candidate takes part in, and what it has
            reached there; None if there is none.
        """
        for found in reversed(self.confirmations):
            arm = found.arm(candidate.chain, candidate.recipe)
            if found.finished and arm is not None:
                return found, arm
        return None

    def confirmation_of(self, candidate: Candidate) -> Confirmation | None:
        """The newest finished confirmation that a candidate takes part in; None if none is."""
        return (self.confirmed(candidate) or (None,))[0]

    def shipped(self, candidate: Candidate) -> Candidate:
        """The candidate to ship in place of another one, by the verdicts; else that one."""
        found = self.confirmation_of(candidate)
        if found is None:
            return candidate
        arm = shipped(found.of_width(candidate.chain[-1]))
        same = (c for c in self.front.candidates if arm.is_chain(c.chain, c.recipe))
        return next(same, candidate)

    @property
    def costs(self) -> Costs:
        """What training has cost so far."""
        return costs(self.trials, self.manifest.trained_samples, self.manifest.measured)
