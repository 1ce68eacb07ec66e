"""Running trials that end: they are stored in Optuna's study, learned from, and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.pareto.measurement import Measurement
from tasearch.runs.events import TrialDone
from tasearch.runs.trial_attributes import CODE, is_free, is_retry, to_record
from tasearch.search.annotations import Annotations
from tasearch.search.executor import HopExecutor
from tasearch.search.proposals import Proposals
from tasearch.search.queue import Queue
from tasearch.search.running_trials import RunningTrial, TrialResult, trial_result
from tasearch.search.trials import Trials


class EndedTrials:
    """Ends the running trials of a search.

    Args:
        trials: The trials of the search.
        hops: The hops of the run.
        annotations: What is noted with trials; it learns from those that end.
        proposals: The proposals, which learn from the trials that end.
        queue: The queue, which is told of failed trials.
        teacher: The teacher of all chains.
        measured: Size and latency by width.
        target: Number of trials that the search is asked for.

    Attributes:
        running: Running trials by number, in the order in which they started.
        done: Number of trials that count and have ended.
        failures: Number of these that have failed and were not repeated with success.
        lost: Hops of ended trials whose files are damaged or missing; they are trained again.
    """

    def __init__(
        self,
        trials: Trials,
        hops: HopExecutor,
        annotations: Annotations,
        proposals: Proposals,
        queue: Queue,
        *,
        teacher: ModelSpec,
        measured: Mapping[int, Measurement],
        target: int,
    ) -> None:
        self._trials, self._hops, self._annotations = trials, hops, annotations
        self._proposals, self._queue = proposals, queue
        self._teacher, self._measured, self._target = teacher, measured, target
        self.running: dict[int, RunningTrial] = {}
        self.done = self.failures = 0
        self.lost: list[Hop] = []

    def settle(self, before: int | None = None) -> Iterator[TrialDone]:
        """End every running trial whose result is known by now.

        A complete trial waits for the trial of direct distillation with which it is compared.

        Args:
            before: Only trials with smaller numbers; None for all.

        Raises:
            TrainingError: The teacher cannot be trained.
        """
        for number, running_trial in list(self.running.items()):
            if before is not None and number >= before:
                continue
            ended = trial_result(running_trial, self._hops, self._teacher)
            if ended is None:
                continue
            if ended.accuracy is not None and running_trial.direct in self.running:
                continue
            del self.running[number]
            told = self._tell(running_trial, ended)
            self._annotations.annotate_teacher(self._trials)
            self.count(told, self._trials.chain(told))
            yield TrialDone(record=to_record(told), done=self.done, trials=self._target)

    def _tell(self, running_trial: RunningTrial, ended: TrialResult) -> FrozenTrial:
        """Store the result of a trial in Optuna's study."""
        values = None
        if ended.accuracy is not None:
            size = self._measured[running_trial.student.model.width]
            values = (ended.accuracy, size.params, size.latency_ms)
        attrs = {**self._annotations.attributes(running_trial, ended), **ended.attrs}
        return self._trials.tell(running_trial.trial, attrs, values, ended.state)

    def count(self, trial: FrozenTrial, chain: Chain) -> None:
        """Count a trial that has ended, and learn from it.

        Args:
            trial: The trial, in this search or an earlier one.
            chain: Its chain.
        """
        self._proposals.learn(trial)
        failed = trial.state == TrialState.FAIL
        self._annotations.learn(trial, chain)
        if not is_free(trial):
            self.done += not is_retry(trial)
            self.failures += failed - is_retry(trial)
        if failed:
            self._queue.failed.add(trial.number)
        if failed and trial.user_attrs.get("cause") == CODE:  # the hop would fail again
            self._hops.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def find_lost(self, trial: FrozenTrial, hops: Sequence[Hop]) -> None:
        """Note the hops of an ended trial whose files are damaged or missing.

        Args:
            trial: The trial of an earlier search.
            hops: The hops of its chain.
        """
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        uses = zip(hops, trial.user_attrs["hops"], strict=True)
        whole = [hop for hop, use in uses if use["trained"] == use["epochs"]]
        self._hops.expect([hop for hop in whole if not self._hops.has(hop)])
        self.lost += [hop for hop in whole if not self._hops.has(hop)]

    def forget_trained(self) -> None:
        """Forget lost hops that are stored again, or that cannot be trained."""
        self.lost = [hop for hop in self.lost if not self._hops.has(hop)]
        self.lost = [hop for hop in self.lost if not self._hops.hopeless(hop)]
