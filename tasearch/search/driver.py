"""The driver of a search: it asks for proposals, has their hops trained, and ends their trials.

Trials overlap (see `tasearch.search.proposals`), and neither the engine nor the number of workers
changes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from optuna import Study as OptunaStudy
from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import Hop
from tasearch.chains.keys import canonical_json
from tasearch.chains.space import Space
from tasearch.pareto.skyline import StoppingCriterion, Thresholds
from tasearch.runs.directory import Manifest
from tasearch.runs.events import Event, HopReused, SearchFinished, TrialStarted
from tasearch.runs.optuna_adapter import id_of
from tasearch.runs.trial_attributes import OVER, describe_recipes, is_retry
from tasearch.search.acquisition import Acquisition
from tasearch.search.annotations import Annotations
from tasearch.search.assistant_trials import AssistantTrials
from tasearch.search.ended_trials import EndedTrials
from tasearch.search.executor import HopExecutor
from tasearch.search.limits import Limits
from tasearch.search.proposals import Proposals
from tasearch.search.pruner import SkylinePruner
from tasearch.search.queue import Queue
from tasearch.search.running_trials import RunningTrial
from tasearch.search.sampler import ChainSampler, make_sampler
from tasearch.search.scheduler import begin_ready
from tasearch.search.trials import Trials


class Driver:
    """One search.

    Args:
        manifest: The run's manifest.
        space: The chains within the budget.
        hops: The hops of the run, and the engine that trains them.
        open_optuna: Function that creates or opens Optuna's study with a sampler.
        trials: Number of chains to try in all.
        spent: Seconds that earlier searches of this run took.
        retry_failed: Whether to repeat all failed trials, whatever the cause.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        space: Space,
        hops: HopExecutor,
        open_optuna: Callable[[ChainSampler], OptunaStudy],
        trials: int,
        spent: float = 0.0,
        retry_failed: bool = False,
    ) -> None:
        self.space, self.hops, self.target, self.retry_failed = space, hops, trials, retry_failed
        study, measured = manifest.study, manifest.measured
        acquisition = Acquisition(manifest, space)
        self.sampler = ChainSampler(space, make_sampler(study)(acquisition), study.seed)
        self.annotations = Annotations(manifest, hops, space.teacher)
        self.trials = Trials(open_optuna(self.sampler), space, self.annotations.constraints())
        self.sampler.follow(self.trials.all)
        self.queue = Queue(self.trials, space)
        self.pruner = SkylinePruner(manifest, space.teacher)
        self.proposals = Proposals(
            search=study.search,
            space=space,
            target=trials,
            trials=self.trials,
            queue=self.queue,
            sampler=self.sampler,
            pruner=self.pruner,
            limits=Limits(manifest, acquisition, spent=spent),
        )
        self.assistants = AssistantTrials(
            key=hops.key,
            teacher=space.teacher,
            is_candidate=lambda hop: study.limits().admits(measured[hop.model.width]),
            complete=self.annotations.complete,
        )
        parts = self.trials, hops, self.annotations, self.proposals, self.queue
        self.ended = EndedTrials(*parts, teacher=space.teacher, measured=measured, target=trials)

    def events(self) -> Iterator[Event]:
        """Run the search, and yield its events."""
        self._recall()
        yield from self._begin()
        while True:
            yield from self._ask()
            yield from self.ended.settle()
            yield from self.hops.notices()
            if self._enter_assistants() or self._may_ask():
                continue
            begin_ready(self.hops, self.ended.running.values(), self.ended.lost)
            if not self.hops.busy:
                break
            yield from self.hops.wait()
            self.ended.forget_trained()
            yield from self.ended.settle()
        assert not self.ended.running, "a trial waits for a hop that is not trained"
        self.queue.end_batch()
        yield SearchFinished(reason=self._reason(), done=self.ended.done)

    def _recall(self) -> None:
        """Take in the trials of earlier searches, including those that a kill interrupted."""
        for trial, free in self.trials.recall():
            self.proposals.recall(trial)
            self._start_proposed(trial, self.trials.chain(trial), free)
        self.assistants.end_recall()
        self._enter_assistants()

    def _begin(self) -> Iterator[Event]:
        """Report what others did to the study, and queue the trials that are to be repeated.

        Interrupted trials that have failed by now are ended first. Otherwise it would depend on the
        moment of a kill whether they fail for the old reason or wait for the repeated training.
        """
        self.annotations.annotate_study(self.trials)
        for trial in self.trials.foreign():
            state = trial.state.name.lower()
            self.hops.tell(f"trial {trial.number} ({state}) is not this search's: it is ignored")
        pending = self.queue.pending()
        before = min((trial.user_attrs["retry_since"] for trial in pending), default=None)
        yield from self.ended.settle(before)
        self.queue.retry(failed=self.retry_failed)
        for trial in self.queue.pending():
            key, since = self.annotations.failed_hop(trial), trial.user_attrs["retry_since"]
            if self.annotations.failed.get(key, since) < since:
                self.hops.failed.pop(key, None)

    def _may_ask(self) -> bool:
        """Whether there is another proposal, and all that it depends on has ended."""
        if self.ended.lost or self.assistants.waiting:
            return False
        for message in self.queue.refuse():
            self.hops.tell(message)
        return self.proposals.may_begin(self.ended.running.values())

    def _ask(self) -> Iterator[Event]:
        """Start the trials of all proposals that may begin now."""
        while self._may_ask():
            needed = {*self.assistants.needed}
            asked = self._next_trial()
            if asked is None:
                continue
            trial, chain = asked
            self._start_proposed(trial, chain)
            yield TrialStarted(
                number=trial.number,
                label=label(chain.widths, describe_recipes(chain), chain.teacher),
                done=self.ended.done,
                trials=self.target,
            )
            for hop in chain.hops():
                if self.hops.key(hop) in needed or self.hops.has(hop):
                    yield HopReused(label=hop.label)

    def _next_trial(self) -> tuple[FrozenTrial, Chain] | None:
        """The trial of the next proposal; None if it was queued and others have ended it."""
        kind = self.proposals.next()
        if kind in ("retry", "queued"):
            named = self.queue.next(retry=kind == "retry")
            if named is not None:
                return self.trials.take(*named, retry=kind == "retry")
        return self.trials.ask(self.proposals.next_baseline() if kind == "baseline" else None)

    def _start_proposed(
        self, trial: FrozenTrial, chain: Chain, free: Sequence[FrozenTrial] = ()
    ) -> None:
        """Start a proposal, and trials of its assistants that are candidates.

        Args:
            trial: The trial of the proposal.
            chain: Its chain.
            free: Trials of its assistants in an earlier search, whatever the budget is now.
        """
        *ancestors, student = chain.hops()
        if is_retry(trial):
            key = self.annotations.failed_hop(trial)
            self.assistants.reopen(trial.user_attrs["retry_since"], key)
        baseline = self.proposals.is_baseline(self.space.member(chain))
        baseline &= trial.state != TrialState.PRUNED  # in a run begun with fewer baselines
        whole = baseline or self.hops.key(student) in self.assistants.needed
        prunable = ancestors if whole else [*ancestors, student]
        if all(known.state in OVER for known in (trial, *free)):
            prunable = []
        thresholds = {self.hops.key(hop): self.pruner.thresholds(hop, student) for hop in prunable}
        self.proposals.begin(trial)
        self._start(trial, chain, thresholds, free=False, whole=whole)
        for other in free:
            self._start_free(other, self.trials.chain(other).hop(), thresholds)
        self.assistants.propose(ancestors, thresholds)
        self._enter_assistants()

    def _enter_assistants(self) -> bool:
        """Start trials of the last proposal's assistants; return whether there are any."""
        before = len(self.trials.order)
        for hop, thresholds in self.assistants.due(self.ended.running.keys()):
            shorter = self.space.canonical(Chain.ending_in(hop, self.space.teacher))
            self._start_free(self.trials.enter(shorter), hop, thresholds)
        self.proposals.extend()
        return len(self.trials.order) > before

    def _start_free(
        self, trial: FrozenTrial, hop: Hop, thresholds: Mapping[str, Thresholds]
    ) -> None:
        """Start the trial of an assistant, which has no threshold at its last rung."""
        key = self.hops.key(hop)
        self.assistants.start_free(key)
        own = {**thresholds, key: thresholds.get(key, ())[:-1]}
        self._start(trial, self.trials.chain(trial), own, free=True, whole=True)

    def _start(
        self,
        trial: FrozenTrial,
        chain: Chain,
        thresholds: Mapping[str, Thresholds],
        *,
        free: bool,
        whole: bool,
    ) -> None:
        """Take in a trial: as a running one, unless it has ended in an earlier search."""
        choices = self.space.member(chain)
        if choices is not None:
            self.sampler.remember(choices)
            self.queue.tried[canonical_json(choices)] = trial.number
        hops = [*chain.hops()]
        self.assistants.start(self.hops.key(hops[-1]), trial.number, whole=whole)
        direct = self.annotations.direct(trial.number, hops[-1])
        if trial.state in OVER:
            self.ended.count(trial, chain)
            self.ended.find_lost(trial, hops)
            return
        self.hops.expect(hops)
        audited = self.pruner.audits(self.proposals.number)
        criteria = (
            StoppingCriterion(thresholds=thresholds.get(self.hops.key(hop), ()), audited=audited)
            for hop in hops
        )
        self.ended.running[trial.number] = RunningTrial(
            trial=id_of(trial),
            proposal=self.proposals.number,
            free=free,
            criteria=tuple(zip(hops, criteria, strict=True)),
            direct=direct,
        )

    def _reason(self) -> str:
        """Why the search ends, in words."""
        done = self.ended.done
        found = f"{done} trials are done" if done != 1 else "1 trial is done"
        if done < self.target:
            size = self.space.size
            tried = f"all {size} chains have been tried" if size > 1 else "there is one chain"
            found = self.proposals.ended_early or tried
        elif done > self.target:
            found += f", more than the {self.target} asked for"
        if self.ended.failures:
            found += f"; {self.ended.failures} failed"
        waiting = len(self.trials.waiting())
        if waiting:
            found += f"; {waiting} queued, for which more trials must be asked for"
        return found
