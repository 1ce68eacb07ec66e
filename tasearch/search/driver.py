"""The driver: ask Optuna, have the hops of its chains trained, tell.

Proposals overlap, `search.lookahead` of them at most, and before them all baselines, which depend
on nothing. What is proposed and what is stopped depends on the trials that far before alone, so
neither the engine nor the number of workers changes a result. An assistant within the budget is a
student too: it enters as a trial of its own, which costs nothing and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from optuna import Study as OptunaStudy
from optuna.trial import FrozenTrial, TrialState

from tasearch.chain import Chain, Hop, label
from tasearch.errors import RunError
from tasearch.rundir import Snapshot
from tasearch.search.events import Event, Finished, HopReused, Notice, TrialDone, TrialStarted
from tasearch.search.flights import Flight, outcome
from tasearch.search.hops import Hops, trained_hops
from tasearch.search.journal import open_study, repair, to_record
from tasearch.search.judge import Judge
from tasearch.search.limits import Limits
from tasearch.search.prepare import Prepared
from tasearch.search.sampler import ChainSampler, make_sampler
from tasearch.search.scout import Scout
from tasearch.search.sealed_journal import count_lines
from tasearch.search.trials import OVER, Trials, describe_recipes, is_free
from tasearch.skyline import Bars, Watch, lowest
from tasearch.space import Space


def search(prepared: Prepared, trials: int) -> Iterator[Event]:
    """Run or continue a search until `trials` chains were tried, a limit of the study is reached,
    or the space is exhausted.

    The iterator may be closed between any two events; the same call goes on from there.

    Raises:
        RunError: where another driver holds the run, or it is of another study.
        StoreError: where nothing can be written any more.
        TrainingError: where the teacher itself cannot be trained.
    """
    run = prepared.run
    try:
        with run.locked():
            snapshot = replace(prepared.snapshot, space=prepared.space.size)
            there = run.read() if run.exists else None
            if there is not None and there.measured != snapshot.measured:
                raise RunError(f"{run.path}: was made meanwhile; run the same command again")
            if there != snapshot:  # new, or the folder of its study has moved
                run.write(snapshot)
            history, repaired = run.history(), repair(run, snapshot.study.name)
            run.log("search", trials=trials)
            if history.damage:
                left = "it is left out, and so are its seconds"
                yield Notice(message=f"{history.damage}; {left}")
            if repaired:
                yield Notice(message=repaired)
            driver = Driver(
                snapshot=snapshot,
                space=prepared.space,
                hops=trained_hops(prepared),
                open_optuna=lambda sampler: open_study(
                    run, snapshot.study.name, sampler, snapshot.identity
                ),
                trials=trials,
                spent=history.seconds,
            )
            try:
                for event in driver.events():
                    if isinstance(event, Finished):
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
        snapshot: of the run.
        space: the chains within the budget.
        hops: what is trained, and who trains.
        open_optuna: makes or opens Optuna's study with a sampler.
        trials: chains to try in all.
        spent: seconds that earlier searches of this run took.
    """

    def __init__(
        self,
        *,
        snapshot: Snapshot,
        space: Space,
        hops: Hops,
        open_optuna: Callable[[ChainSampler], OptunaStudy],
        trials: int,
        spent: float = 0.0,
    ) -> None:
        self.space, self.hops, self.target = space, hops, trials
        self.study, self.measured = snapshot.study, snapshot.measured
        self.lookahead = self.study.search.lookahead
        scout = Scout(snapshot, space)
        make = make_sampler(self.study)(scout)
        self.sampler = ChainSampler(space, make, self.study.seed)
        self.trials = Trials(open_optuna(self.sampler), space)
        self.limits = Limits(snapshot, scout, spent=spent)
        self.judge = Judge(snapshot, space.teacher)
        self.baselines = [space.choices(chain) for chain in space.baselines()]
        self.flights: dict[int, Flight] = {}  # by trial number, in order
        self.last: list[int] = []  # by proposal: number of the last trial that came with it
        self.seen = 0  # trials that the next proposal may depend on
        self.over: dict[int, FrozenTrial] = {}  # trials that are over and not yet seen
        self.done = self.failures = 0  # of proposals that are over
        self.claimed: set[str] = set()  # hops that some trial needs whole
        self.entered: set[str] = set()  # hops whose trial is, or will be, complete
        self.lost: list[Hop] = []  # of trials that are over, to be trained again
        self.enough = ""  # why no more is proposed

    @property
    def asked(self) -> int:
        """Proposals so far, whatever became of them."""
        return len(self.last)

    @property
    def _is_baseline(self) -> bool:
        """Whether the next proposal is; these depend on nothing."""
        return self.asked < len(self.baselines)

    def events(self) -> Iterator[Event]:
        self._recall()
        while True:
            yield from self._ask()
            yield from self._settle()
            yield from self.hops.notices()
            if self._may_ask():
                continue
            self._submit()
            if not self.hops.busy:
                break
            yield from self.hops.wait()
            self.lost = [hop for hop in self.lost if not self.hops.has(hop)]
            self.lost = [hop for hop in self.lost if self.hops.reason(hop) is None]
        assert not self.flights, "a trial waits for a hop that nobody trains"
        yield Finished(reason=self._reason(), done=self.done)

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
        return found

    def _recall(self) -> None:
        """Take in what earlier runs did, and the trials that were cut off."""
        trials = self.trials.all()
        number = 0
        while number < len(trials):
            self._see()
            free = takewhile(is_free, islice(trials, number + 1, None))
            self._take_off(trials[number], self.trials.chain(trials[number]), [*free])
            number = self.last[-1] + 1

    def _may_ask(self) -> bool:
        """Whether there is another proposal, and all that it depends on is over."""
        if self.asked >= self.target or self.lost or self.enough or self.sampler.exhausted:
            return False
        first = self.asked - self.lookahead
        waits = not self._is_baseline or self.study.search.max_hours is not None
        if waits and any(flight.proposal <= first for flight in self.flights.values()):
            return False
        self._see()
        self.enough = self.limits.reached(self.trials.all(), self.seen)
        return not self.enough

    def _see(self) -> None:
        """Learn from the trials that the next proposal may depend on, in their order."""
        if self._is_baseline:
            return
        first = self.asked - self.lookahead
        until = self.last[first] + 1 if first >= 0 else 0
        for number in range(self.seen, until):
            learned = self.judge.learn(self.over.pop(number))
            if learned is not None:
                self.entered.add(learned)
        self.seen = until
        self.sampler.see(until)

    def _ask(self) -> Iterator[Event]:
        while self._may_ask():
            claimed = set(self.claimed)
            trial, chain = self.trials.ask(
                self.baselines[self.asked] if self._is_baseline else None
            )
            self._take_off(trial, chain, [])
            yield TrialStarted(
                number=trial.number,
                label=label(chain.widths, describe_recipes(chain)),
                done=self.done,
                trials=self.target,
            )
            for hop in chain.hops():
                if self.hops.key(hop) in claimed or self.hops.has(hop):
                    yield HopReused(label=hop.label)

    def _take_off(self, trial: FrozenTrial, chain: Chain, free: list[FrozenTrial]) -> None:
        """Take up a proposal, and its assistants that are candidates, known or new."""
        baseline = self._is_baseline
        proposal, number = self.asked, trial.number
        *ancestors, student = chain.hops()
        whole = baseline or self.hops.key(student) in self.claimed
        judged = ancestors if whole else [*ancestors, student]
        if all(known.state in OVER for known in (trial, *free)):
            judged = []
        bars = {self.hops.key(hop): self.judge.bars(hop, student) for hop in judged}
        self._fly(trial, chain, proposal, bars, free=False, whole=whole)
        for hop in ancestors:
            key = self.hops.key(hop)
            if key in self.claimed:
                continue
            self.claimed.add(key)
            within = self.study.limits().admits(self.measured[hop.pupil.width])
            if hop.lineage == (self.space.teacher,) or not within or key in self.entered:
                continue
            self.entered.add(key)
            shorter = self.space.canonical(Chain.ending_in(hop, self.space.teacher))
            found = free.pop(0) if free else self.trials.enter(shorter)
            own = bars | {key: bars.get(key, ())[:-1]}  # trained to its end, it is complete
            self._fly(found, shorter, proposal, own, free=True, whole=True)
            number = found.number
        self.last.append(number)

    def _fly(
        self,
        trial: FrozenTrial,
        chain: Chain,
        proposal: int,
        bars: Mapping[str, Bars],
        *,
        free: bool,
        whole: bool,
    ) -> None:
        """A trial in flight; one of an earlier search may be over."""
        self.trials.describe(trial, chain)
        choices = self.space.member(chain)
        if choices is not None:
            self.sampler.remember(choices)
        hops = [*chain.hops()]
        if whole:
            self.entered.add(self.hops.key(hops[-1]))
        if trial.state in OVER:
            self._land(trial, free=free)
            self.lost += self._damaged(trial, hops)
            return
        audited = self.judge.audits(proposal)
        watches = (Watch(bars=bars.get(self.hops.key(hop), ()), audited=audited) for hop in hops)
        self.flights[trial.number] = Flight(
            trial=trial._trial_id,
            proposal=proposal,
            free=free,
            legs=tuple(zip(hops, watches, strict=True)),
        )

    def _land(self, trial: FrozenTrial, *, free: bool) -> None:
        """Count a trial that is over; a hop that failed would fail again."""
        self.over[trial.number] = trial
        self.done += not free
        self.failures += trial.state == TrialState.FAIL and not free
        if "failed_hop" in trial.user_attrs:
            self.hops.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def _damaged(self, trial: FrozenTrial, hops: Sequence[Hop]) -> list[Hop]:
        """What a trial that is over has lost."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return []
        uses = zip(hops, trial.user_attrs["hops"], strict=True)
        whole = [hop for hop, use in uses if use["trained"] == use["epochs"]]
        return [hop for hop in whole if not self.hops.has(hop)]

    def _settle(self) -> Iterator[Event]:
        """Tell Optuna of every trial in flight that is over by now."""
        for number, flight in list(self.flights.items()):
            ended = outcome(flight, self.hops, self.space.teacher)
            if ended is None:
                continue
            del self.flights[number]
            values = None
            if ended.accuracy is not None:
                size = self.measured[flight.student.pupil.width]
                values = (ended.accuracy, size.params, size.latency_ms)
            told = self.trials.tell(number, flight.trial, ended.attrs, values, ended.state)
            self._land(told, free=flight.free)
            yield TrialDone(record=to_record(told), done=self.done, trials=self.target)

    def _submit(self) -> None:
        """Begin what can be begun, first what most epochs of its chain come after, so that no long
        chain is left alone at the end; as many groups as are free, if need be smaller ones."""
        found = [leg for leg in self._ready() if self.hops.can_begin(leg[0])]
        found.sort(key=lambda leg: -leg[2])  # earlier trials first among equals
        ready = {self.hops.key(hop): (hop, bars) for hop, bars, _ in found}
        while ready and self.hops.free:
            hops = [hop for hop, _ in ready.values()]
            group = self.hops.group(hops, math.ceil(len(ready) / self.hops.free))
            self.hops.begin(dict(ready.pop(self.hops.key(hop)) for hop in group))

    def _ready(self) -> Iterator[tuple[Hop, Bars, int]]:
        """The next hop of each trial, its bars, as far as all who want it have some, and the epochs
        that are to come with it and after it."""
        wanted: dict[str, tuple[Hop, list[Bars], list[int]]] = {}
        for hop in self.lost:
            wanted[self.hops.key(hop)] = hop, [()], [0]
        for flight in self.flights.values():
            legs = [leg for leg in flight.legs if not self.hops.has(leg[0])]
            hop, watch = legs[0]
            _, bars, epochs = wanted.setdefault(self.hops.key(hop), (hop, [], []))
            bars.append(watch.binding)
            epochs.append(sum(leg.pupil.recipe.epochs for leg, _ in legs if leg.pupil.recipe))
        for hop, bars, epochs in wanted.values():
            yield hop, lowest(bars), max(epochs)
