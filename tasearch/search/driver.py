"""The driver: ask Optuna, have the hops of its chains trained, tell.

Trials overlap, at most `search.max_concurrent` of them; the baselines, which depend on no other
trial, may all run at once. A proposal or a pruning decision depends only on the trials that come
that many before it, so neither the engine nor the number of workers changes a result. An assistant
within the budget is a student too: it enters as a trial of its own, which costs nothing and does
not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from optuna import Study as OptunaStudy
from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import Hop
from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.pareto.skyline import Thresholds, Watch
from tasearch.runs.directory import Manifest
from tasearch.runs.events import Event, HopReused, Notice, SearchFinished, TrialDone, TrialStarted
from tasearch.runs.journal import open_study, repair, to_record
from tasearch.runs.sealed_journal import count_lines
from tasearch.runs.trial_attributes import CODE, OVER, is_free, is_queued, is_retry
from tasearch.search.acquisition import Acquisition
from tasearch.search.annotations import Annotations, excesses
from tasearch.search.executor import HopExecutor, trained_hops
from tasearch.search.extension import extend
from tasearch.search.limits import Limits
from tasearch.search.prepare import Prepared
from tasearch.search.pruner import SkylinePruner
from tasearch.search.queue import Queue
from tasearch.search.running_trials import RunningTrial, trial_result
from tasearch.search.sampler import ChainSampler, make_sampler
from tasearch.search.scheduler import begin_ready
from tasearch.search.trials import Trials, describe_recipes


def search(prepared: Prepared, trials: int, retry_failed: bool = False) -> Iterator[Event]:
    """Run or continue a search until `trials` chains were tried, a limit of the study is reached,
    or the space is exhausted.

    Trials that failed for want of memory, or for another fault of the machine, are tried again
    first; with `retry_failed` all that failed are.

    The iterator may be closed between any two events; the same call goes on from there.

    Raises:
        RunError: where another driver holds the run, or it is of another study.
        StoreError: where nothing can be written any more.
        TrainingError: where the teacher itself cannot be trained.
    """
    run = prepared.run
    try:
        with run.locked():
            manifest = replace(prepared.manifest, space=prepared.space.size)
            before = prepared.before
            repaired = repair(run, manifest.study.name)
            if before is not None:
                extend(run, manifest, prepared.space, excesses(manifest))
            elif not run.exists or run.read() != manifest:  # new, or its study's folder has moved
                run.write(manifest)
            history = run.history()
            run.log("search", trials=trials)
            if history.damage:
                left = "it is left out, and so are its seconds"
                yield Notice(message=f"{history.damage}; {left}")
            if repaired:
                yield Notice(message=repaired)
            driver = Driver(
                manifest=manifest,
                space=prepared.space,
                hops=trained_hops(prepared),
                open_optuna=lambda sampler: open_study(
                    run, manifest.study.name, sampler, manifest.identity
                ),
                trials=trials,
                spent=history.seconds,
                retry_failed=retry_failed,
            )
            try:
                for event in driver.events():
                    if isinstance(event, SearchFinished):
                        lines = count_lines(run.journal)
                        run.log("finished", reason=event.reason, journal=lines)
                    yield event
            finally:
                driver.hops.close()
    finally:
        prepared.close()


class Driver:
    """One search.

    Args:
        manifest: of the run.
        space: the chains within the budget.
        hops: what is trained, and who trains.
        open_optuna: makes or opens Optuna's study with a sampler.
        trials: chains to try in all.
        spent: seconds that earlier searches of this run took.
        retry_failed: whether to try again all that failed, whatever the cause.
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
        self.space, self.hops, self.target = space, hops, trials
        self.study, self.measured = manifest.study, manifest.measured
        self.max_concurrent = self.study.search.max_concurrent
        self.retry_failed = retry_failed
        acquisition = Acquisition(manifest, space)
        make = make_sampler(self.study)(acquisition)
        self.sampler = ChainSampler(space, make, self.study.seed)
        self.annotations = Annotations(manifest, hops, space.teacher)
        self.trials = Trials(open_optuna(self.sampler), space, self.annotations.constraints())
        self.sampler.follow(self.trials.all)
        self.queue = Queue(self.trials, space)
        self.limits = Limits(manifest, acquisition, spent=spent)
        self.pruner = SkylinePruner(manifest, space.teacher)
        self.baselines = [space.choices(chain) for chain in space.baselines()]
        self.running_trials: dict[int, RunningTrial] = {}  # by trial number, in order
        self.last: list[int] = []  # by proposal: how many trials there were with and before it
        self.seen = 0  # trials, in the search's order, that the next proposal may depend on
        self.over: dict[int, FrozenTrial] = {}  # trials that are over and not yet seen
        self.asked = 0  # proposals that count, whatever became of them
        self.done = self.failures = 0  # of these, over by now
        self.claimed: set[str] = set()  # hops that some trial needs whole
        self.entered: set[str] = set()  # hops whose trial is, or will be, complete
        self.judged: dict[str, int] = {}  # by hop: number of the trial that may be stopped at it
        self.entering: list[
            tuple[Hop, Mapping[str, Thresholds]]
        ] = []  # the last proposal's assistants
        self.reopened: set[tuple[int, str]] = set()  # hops that were begun again, by batch
        self.lost: list[Hop] = []  # of trials that are over, to be trained again
        self.enough = ""  # why no more is proposed

    def events(self) -> Iterator[Event]:
        self._recall()
        yield from self._begin()
        while True:
            yield from self._ask()
            yield from self._settle()
            yield from self.hops.notices()
            if self._enter() or self._may_ask():
                continue
            begin_ready(self.hops, self.running_trials.values(), self.lost)
            if not self.hops.busy:
                break
            yield from self.hops.wait()
            self.lost = [hop for hop in self.lost if not self.hops.has(hop)]
            self.lost = [hop for hop in self.lost if not self.hops.hopeless(hop)]
            yield from self._settle()
        assert not self.running_trials, "a trial waits for a hop that nobody trains"
        self.queue.end_batch()
        yield SearchFinished(reason=self._reason(), done=self.done)

    def _begin(self) -> Iterator[Event]:
        """Tell of what others did to the study, and queue what is to be tried again.

        Trials from before that failed by now are told first, so that it does not depend on the
        moment of a kill whether they fail for the old reason or wait for what is tried again.
        """
        self.annotations.note_study(self.trials)
        for trial in self.trials.foreign():
            state = trial.state.name.lower()
            self.hops.tell(f"trial {trial.number} ({state}) is not this search's: it is ignored")
        pending = self.queue.pending()
        before = min((trial.user_attrs["retry_since"] for trial in pending), default=None)
        yield from self._settle(before)
        self.queue.retry(failed=self.retry_failed)
        for trial in self.queue.pending():
            key, since = self.annotations.failed_hop(trial), trial.user_attrs["retry_since"]
            if self.annotations.failed.get(key, since) < since:
                self.hops.failed.pop(key, None)

    def _reason(self) -> str:
        done = self.done
        found = f"{done} trials are done" if done != 1 else "1 trial is done"
        if done < self.target:
            many = self.space.size > 1
            tried = (
                f"all {self.space.size} chains have been tried" if many else "there is one chain"
            )
            found = self.enough or tried
        elif done > self.target:
            found += f", more than the {self.target} asked for"
        if self.failures:
            found += f"; {self.failures} failed"
        waiting = len(self.trials.waiting())
        if waiting:
            found += f"; {waiting} queued, for which more trials must be asked for"
        return found

    def _recall(self) -> None:
        """Take in what earlier runs did, and the trials that were cut off."""
        late: dict[str, tuple[Hop, Mapping[str, Thresholds]]] = {}
        for trial, free in self.trials.recall():
            if not self._is_baseline(trial):
                self._see()
            self._start_proposed(trial, self.trials.chain(trial), free, late)
        self.claimed -= {*late}
        self.entering = [*late.values(), *self.entering]
        self._enter()

    def _is_baseline(self, trial: FrozenTrial) -> bool:
        """Whether the proposal that is taken up is; these depend on nothing."""
        named = is_queued(trial) or is_retry(trial)
        return not named and self.space.member(self.trials.chain(trial)) in self.baselines

    def _next_baseline(self) -> Choices | None:
        """The first that was not tried; some are new where the study has grown."""
        return next((c for c in self.baselines if not self.sampler.knows(c)), None)

    def _next(self) -> Literal["baseline", "retry", "queued", "sampled"] | None:
        """What the next proposal is."""
        more = self.asked < self.target and not self.enough and not self.sampler.exhausted
        if more and self._next_baseline() is not None:
            return "baseline"
        if self.queue.next(retry=True):
            return "retry"
        if more:
            return "queued" if self.queue.next(retry=False) else "sampled"
        return None

    def _may_ask(self) -> bool:
        """Whether there is another proposal, and all that it depends on is over."""
        if self.lost or self.entering:
            return False
        for message in self.queue.refuse():
            self.hops.tell(message)
        kind = self._next()
        if kind is None:
            return False
        first = len(self.last) - self.max_concurrent
        waits = kind != "baseline" or self.study.search.max_hours is not None
        if waits and any(
            running_trial.proposal <= first for running_trial in self.running_trials.values()
        ):
            return False
        if kind != "baseline":
            self._see()
        if kind != "retry":
            self.enough = self.limits.reached(self.trials.all(), self.seen)
            return not self.enough or self._may_ask()
        return True

    def _see(self) -> None:
        """Learn from the trials that the next proposal may depend on, in their order."""
        first = len(self.last) - self.max_concurrent
        until = self.last[first] if first >= 0 else 0
        for number in self.trials.order[self.seen : until]:
            if number not in self.over:  # the study's max_concurrent was another before
                break
            self.pruner.learn(self.over.pop(number))
            self.seen += 1
        self.sampler.see(self.seen)

    def _ask(self) -> Iterator[Event]:
        while self._may_ask():
            claimed, kind = set(self.claimed), self._next()
            named = self.queue.next(retry=kind == "retry") if kind in ("retry", "queued") else None
            if named is not None:
                taken = self.trials.take(*named, retry=kind == "retry")
                if taken is None:
                    continue
                trial, chain = taken
            else:
                direct = self._next_baseline() if kind == "baseline" else None
                trial, chain = self.trials.ask(direct)
            self._start_proposed(trial, chain)
            yield TrialStarted(
                number=trial.number,
                label=label(chain.widths, describe_recipes(chain)),
                done=self.done,
                trials=self.target,
            )
            for hop in chain.hops():
                if self.hops.key(hop) in claimed or self.hops.has(hop):
                    yield HopReused(label=hop.label)

    def _start_proposed(
        self,
        trial: FrozenTrial,
        chain: Chain,
        free: Sequence[FrozenTrial] = (),
        late: dict[str, tuple[Hop, Mapping[str, Thresholds]]] | None = None,
    ) -> None:
        """Take up a proposal, and its assistants that are candidates, known or new.

        Args:
            trial: The proposal's.
            chain: What it proposes.
            free: The trials of assistants that earlier runs entered with it, whatever the budget
                is now.
            late: Takes assistants that are to enter when all earlier proposals are recalled: a
                kill came before them, or the budget admits them by now. None: they enter at once.
        """
        if is_retry(trial):
            self._reopen(trial)
        baseline = self.space.member(chain) in self.baselines
        *ancestors, student = chain.hops()
        whole = baseline or self.hops.key(student) in self.claimed
        judged = ancestors if whole else [*ancestors, student]
        if all(known.state in OVER for known in (trial, *free)):
            judged = []
        thresholds = {self.hops.key(hop): self.pruner.thresholds(hop, student) for hop in judged}
        self.last.append(len(self.trials.order))
        self.asked += not is_retry(trial)
        self._start(trial, chain, thresholds, free=False, whole=whole)
        for one in free:
            *_, hop = self.trials.chain(one).hops()
            (late or {}).pop(self.hops.key(hop), None)
            self._start_free(one, hop, thresholds)
        self.entering = [(hop, thresholds) for hop in ancestors]
        self._enter(late)

    def _enter(self, late: dict[str, tuple[Hop, Mapping[str, Thresholds]]] | None = None) -> bool:
        """Enter assistants of the last proposal as trials, unless they are complete ones already.

        Where one is the student of a trial that may still be stopped, that is waited for, so that
        no student has two complete trials; until then nothing else is proposed.

        Args:
            late: See `_start_proposed`.

        Returns:
            Whether there is anything new.
        """
        before = len(self.trials.order)
        while self.entering:
            hop, thresholds = self.entering[0]
            key = self.hops.key(hop)
            if key not in self.claimed and self.judged.get(key) in self.running_trials:
                break
            del self.entering[0]
            if key in self.claimed:
                continue
            self.claimed.add(key)
            within = self.study.limits().admits(self.measured[hop.model.width])
            known = key in self.entered or key in self.annotations.complete
            if hop.lineage == (self.space.teacher,) or not within or known:
                continue
            if late is not None:
                late[key] = hop, thresholds
                continue
            shorter = self.space.canonical(Chain.ending_in(hop, self.space.teacher))
            self._start_free(self.trials.enter(shorter), hop, thresholds)
        if self.last:
            self.last[-1] = len(self.trials.order)
        return len(self.trials.order) > before

    def _start_free(
        self, trial: FrozenTrial, hop: Hop, thresholds: Mapping[str, Thresholds]
    ) -> None:
        """Take up the trial of an assistant, which is trained to its end."""
        key = self.hops.key(hop)
        self.claimed.add(key)
        self.entered.add(key)
        own = {**thresholds, key: thresholds.get(key, ())[:-1]}
        self._start(trial, self.trials.chain(trial), own, free=True, whole=True)

    def _reopen(self, trial: FrozenTrial) -> None:
        """Nothing stands any more of the hop that has failed, whose trial may have been free."""
        key = self.annotations.failed_hop(trial)
        batch = trial.user_attrs["retry_since"], key
        if batch not in self.reopened:
            self.reopened.add(batch)
            self.claimed.discard(key)
            self.entered.discard(key)

    def _start(
        self,
        trial: FrozenTrial,
        chain: Chain,
        thresholds: Mapping[str, Thresholds],
        *,
        free: bool,
        whole: bool,
    ) -> None:
        """A running trial; one of an earlier search may be over."""
        proposal = len(self.last) - 1
        choices = self.space.member(chain)
        if choices is not None:
            self.sampler.remember(choices)
            self.queue.tried[canonical_json(choices)] = trial.number
        hops = [*chain.hops()]
        key = self.hops.key(hops[-1])
        if whole:
            self.entered.add(key)
        else:
            self.judged[key] = trial.number
        direct = self.annotations.direct(trial.number, hops[-1])
        if trial.state in OVER:
            self._finish(trial, chain)
            self.lost += self._damaged(trial, hops)
            return
        audited = self.pruner.audits(proposal)
        watches = (
            Watch(thresholds=thresholds.get(self.hops.key(hop), ()), audited=audited)
            for hop in hops
        )
        self.running_trials[trial.number] = RunningTrial(
            trial=trial._trial_id,
            proposal=proposal,
            free=free,
            watched_hops=tuple(zip(hops, watches, strict=True)),
            direct=direct,
        )

    def _finish(self, trial: FrozenTrial, chain: Chain) -> None:
        """Count a trial that is over; a hop that failed would fail again, if it is the code's."""
        self.over[trial.number] = trial
        failed = trial.state == TrialState.FAIL
        self.annotations.learn(trial, chain)
        if not is_free(trial):
            self.done += not is_retry(trial)
            self.failures += failed - is_retry(trial)
        if failed:
            self.queue.failed.add(trial.number)
        if failed and trial.user_attrs.get("cause") == CODE:
            self.hops.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def _damaged(self, trial: FrozenTrial, hops: Sequence[Hop]) -> list[Hop]:
        """What a trial that is over has lost."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return []
        uses = zip(hops, trial.user_attrs["hops"], strict=True)
        whole = [hop for hop, use in uses if use["trained"] == use["epochs"]]
        return [hop for hop in whole if not self.hops.has(hop)]

    def _settle(self, before: int | None = None) -> Iterator[Event]:
        """Tell Optuna of every running trial that is over by now, of all numbers or those before
        one. A complete one waits for the direct distillation that it is compared with."""
        for number, running_trial in list(self.running_trials.items()):
            if before is not None and number >= before:
                continue
            ended = trial_result(running_trial, self.hops, self.space.teacher)
            if ended is None or (
                ended.accuracy is not None and running_trial.direct in self.running_trials
            ):
                continue
            del self.running_trials[number]
            values = None
            if ended.accuracy is not None:
                size = self.measured[running_trial.student.model.width]
                values = (ended.accuracy, size.params, size.latency_ms)
            attrs = {**self.annotations.attributes(running_trial, ended), **ended.attrs}
            told = self.trials.tell(running_trial.trial, attrs, values, ended.state)
            self.annotations.note_teacher(self.trials)
            self._finish(told, self.trials.chain(told))
            yield TrialDone(record=to_record(told), done=self.done, trials=self.target)
