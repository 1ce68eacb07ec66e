"""What a search may propose next, and when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from optuna.trial import FrozenTrial

from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.config.search_section import SearchSection
from tasearch.runs.trial_attributes import is_queued, is_retry
from tasearch.search.limits import Limits
from tasearch.search.pruner import SkylinePruner
from tasearch.search.queue import Queue
from tasearch.search.running_trials import RunningTrial
from tasearch.search.sampler import ChainSampler
from tasearch.search.trials import Trials

Kind = Literal["baseline", "retry", "queued", "sampled"]


class Proposals:
    """The proposals of a search, in order.

    At most `search.max_concurrent` proposals overlap, and a proposal depends only on the trials
    that come at least as many proposals before it. Baselines depend on no trial, so they may all
    run at once; with `search.sampler = "ehvi"` there are none. Therefore neither the engine nor the
    number of workers changes a proposal.

    Args:
        search: The study's settings of the search.
        space: The chains of the study.
        target: Number of trials that the search is asked for.
        trials: The trials of the search.
        queue: The queued trials.
        sampler: The sampler, which is told how many trials it may see.
        pruner: The pruner, which learns from the same trials.
        limits: Limits at which the search ends earlier.

    Attributes:
        counted: Number of proposals that count as trials, whatever became of them.
        ended_early: Why nothing more is proposed; empty as long as no limit is reached.
    """

    def __init__(
        self,
        *,
        search: SearchSection,
        space: Space,
        target: int,
        trials: Trials,
        queue: Queue,
        sampler: ChainSampler,
        pruner: SkylinePruner,
        limits: Limits,
    ) -> None:
        self._search, self._space, self._target = search, space, target
        self._trials, self._queue, self._sampler = trials, queue, sampler
        self._pruner, self._limits = pruner, limits
        first = space.baselines() if search.begins_with_baselines else []
        self._baselines = [space.choices(chain) for chain in first]
        self._ends: list[int] = []  # by proposal, the number of trials up to and including it
        self._over: dict[int, FrozenTrial] = {}  # ended trials that are not seen yet, by number
        self._seen = 0  # number of first trials that the next proposal may depend on
        self.counted = 0
        self.ended_early = ""

    @property
    def number(self) -> int:
        """Number of the last proposal, from 0; -1 before the first."""
        return len(self._ends) - 1

    def begin(self, trial: FrozenTrial) -> None:
        """Count a proposal whose trial starts."""
        self._ends.append(len(self._trials.order))
        self.counted += not is_retry(trial)

    def extend(self) -> None:
        """Count all trials so far, such as free ones, as part of the last proposal."""
        if self._ends:
            self._ends[-1] = len(self._trials.order)

    def learn(self, trial: FrozenTrial) -> None:
        """Take in a trial that has ended; later proposals will depend on it."""
        self._over[trial.number] = trial

    def is_baseline(self, choices: Choices | None) -> bool:
        """Whether some canonical choices are those of a baseline."""
        return choices in self._baselines

    def recall(self, trial: FrozenTrial) -> None:
        """See what a proposal of an earlier search depended on, before it is taken in."""
        named = is_queued(trial) or is_retry(trial)
        if named or not self.is_baseline(self._space.member(self._trials.chain(trial))):
            self._see()

    def next_baseline(self) -> Choices | None:
        """The first baseline that has not been tried; after an extension there may be new ones."""
        return next((c for c in self._baselines if not self._sampler.knows(c)), None)

    def next(self) -> Kind | None:
        """Kind of the next proposal; None if there is none."""
        more = self.counted < self._target and not self.ended_early and not self._sampler.exhausted
        if more and self.next_baseline() is not None:
            return "baseline"
        if self._queue.next(retry=True):
            return "retry"
        if more:
            return "queued" if self._queue.next(retry=False) else "sampled"
        return None

    def may_begin(self, running: Collection[RunningTrial]) -> bool:
        """Whether there is a next proposal, and all trials that it depends on have ended.

        Args:
            running: The running trials.
        """
        kind = self.next()
        if kind is None:
            return False
        first = len(self._ends) - self._search.max_concurrent
        waits = kind != "baseline" or self._search.max_hours is not None
        if waits and any(trial.proposal <= first for trial in running):
            return False
        if kind != "baseline":
            self._see()
        if kind != "retry":
            self.ended_early = self._limits.reached(self._trials.all(), self._seen)
            if self.ended_early:
                return self.may_begin(running)  # a retry may be next
        return True

    def _see(self) -> None:
        """Learn from the trials that the next proposal may depend on, in their order."""
        first = len(self._ends) - self._search.max_concurrent
        until = self._ends[first] if first >= 0 else 0
        for number in self._trials.order[self._seen : until]:
            if number not in self._over:  # the study had another max_concurrent before
                break
            self._pruner.learn(self._over.pop(number))
            self._seen += 1
        self._sampler.see(self._seen)
