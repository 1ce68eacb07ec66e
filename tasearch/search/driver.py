"""The driver: ask Optuna, have the hops of its chains trained, tell.

Trials overlap, `search.lookahead` of them at most. What is proposed and what is stopped depends on
the trials that far before alone, so neither the engine nor the number of workers changes a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from tasearch.chain import Chain, Hop, derived_seed, label
from tasearch.errors import RunError, TrainingError
from tasearch.search.events import Event, Finished, HopReused, TrialDone, TrialStarted
from tasearch.search.hops import Hops
from tasearch.search.journal import open_study, to_record
from tasearch.search.prepare import Prepared
from tasearch.search.sampler import ChainSampler, distributions, make_sampler
from tasearch.skyline import Bar, Skyline, Watch
from tasearch.skyline import Finished as FinishedStudent
from tasearch.store import HopRecord
from tasearch.train.loop import rung_epochs

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def search(prepared: Prepared, trials: int) -> Iterator[Event]:
    """Run or continue a search until `trials` trials are over, or the space is exhausted.

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
            driver = Driver(prepared, trials)
            try:
                yield from driver.events()
            finally:
                driver.hops.close()
    finally:
        prepared.close()


@dataclass(kw_only=True)
class Flight:
    """A trial that was asked for and is not over.

    Args:
        trial: Optuna's.
        chain: that it means.
        ancestors: hops that must be trained to their ends.
        student: the hop that it is about.
        watched: whether its student may be stopped, or counts for the audit.
        earlier: the students that it is measured against.
    """

    trial: Trial
    chain: Chain
    ancestors: list[Hop]
    student: Hop
    watched: bool
    earlier: list[FinishedStudent]


class Driver:
    """One search over one run whose lock is held."""

    def __init__(self, prepared: Prepared, trials: int) -> None:
        self.run, self.space = prepared.run, prepared.space
        self.measured = prepared.snapshot.measured
        self.study = prepared.snapshot.study
        self.trials = trials
        self.hops = Hops(prepared)
        search = self.study.search
        self.lookahead = search.lookahead
        self.sampler = ChainSampler(
            self.space, make_sampler(self.study), self.study.seed, self.lookahead
        )
        self.distributions = distributions(self.space)
        self.optuna = open_study(self.run, self.study.name, self.sampler)
        self.skyline = Skyline(
            quantile=search.quantile, margin=search.margin, evidence=search.evidence
        )
        self.baselines = [self.space.choices(chain) for chain in self.space.baselines()]
        self.flights: dict[int, Flight] = {}  # by trial number, in order
        self.over: set[int] = set()  # numbers of trials
        self.asked = 0  # trials so far, whatever became of them
        self.queued = 0  # trials that Optuna knows of, those to be asked for next included
        self.failures = 0
        self.finished: dict[int, FinishedStudent] = {}
        self.claimed: set[str] = set()  # hops that some trial needs whole
        self.lost: list[Hop] = []  # of trials that are over, to be trained again

    def events(self) -> Iterator[Event]:
        self._recall()
        self.run.log("search", trials=self.trials)
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
        done = len(self.over)
        reason = f"{done} trials are done" if done > 1 else "1 trial is done"
        if done < self.trials:
            reason = f"all {self.space.size} chains have been tried"
        elif done > self.trials:
            reason += f", more than the {self.trials} asked for"
        if self.failures:
            reason += f"; {self.failures} failed"
        yield Finished(reason=reason, done=done)

    def _recall(self) -> None:
        """Take in what earlier runs did, and the trials that were cut off."""
        known = self.optuna.get_trials(deepcopy=False)
        trials = [trial for trial in known if trial.state != TrialState.WAITING]
        self.asked, self.queued = len(trials), len(known)
        for frozen in trials:
            if frozen.state in OVER:
                self.sampler.remember(frozen.params)
                self._learn_from(frozen)
        for frozen in trials:  # in order: each is as it would have been
            if frozen.state == TrialState.RUNNING:
                trial = Trial(self.optuna, frozen._trial_id)
                self._fill(trial)
                self._take_off(trial)
            else:
                self._claim(self._chain(frozen.params))
                self.lost += self._damaged(frozen)

    def _learn_from(self, trial: FrozenTrial) -> None:
        """Take in a trial that is over: its curve, or the hop that would fail again."""
        self.over.add(trial.number)
        self.failures += trial.state == TrialState.FAIL
        if trial.state == TrialState.COMPLETE:
            size = self.measured[int(trial.params["student"])]
            self.finished[trial.number] = FinishedStudent(
                curve=tuple(trial.user_attrs["curve"]),
                params=size.params,
                latency_ms=size.latency_ms,
            )
        elif "failed_hop" in trial.user_attrs:
            self.hops.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def _damaged(self, trial: FrozenTrial) -> list[Hop]:
        """What a trial that is over has lost."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return []
        *ancestors, student = self._chain(trial.params).hops()
        whole = [student] if trial.state == TrialState.COMPLETE else []
        return [hop for hop in (*ancestors, *whole) if not self.hops.has(hop)]

    def _may_ask(self) -> bool:
        """Whether there is another trial, and all that its proposal depends on is over."""
        if self.asked >= self.trials or self.lost:
            return False
        if self.sampler.exhausted:
            return False
        return all(number in self.over for number in range(self.asked - self.lookahead + 1))

    def _ask(self) -> Iterator[Event]:
        while self._may_ask():
            if self.queued == self.asked < len(self.baselines):  # trials 0 .. of every study
                self.optuna.enqueue_trial(self.baselines[self.asked])
            trial = self.optuna.ask(self.distributions)
            self.asked += 1
            self.queued = max(self.queued, self.asked)
            claimed = set(self.claimed)
            self._take_off(trial)
            chain = self.flights[trial.number].chain
            yield TrialStarted(
                number=trial.number,
                label=label(chain.widths, describe_recipes(chain)),
                done=len(self.over),
                trials=self.trials,
            )
            for hop in chain.hops():
                if self.hops.key(hop) in claimed or self.hops.has(hop):
                    yield HopReused(label=hop.label)

    def _take_off(self, trial: Trial) -> None:
        self.sampler.remember(trial.params)
        chain = self._chain(trial.params)
        if "recipe" not in trial.user_attrs:
            trial.set_user_attr("chain", list(chain.widths))
            trial.set_user_attr("recipe", describe_recipes(chain))
        *ancestors, student = chain.hops()
        last = trial.number - self.lookahead
        self.flights[trial.number] = Flight(
            trial=trial,
            chain=chain,
            ancestors=ancestors,
            student=student,
            watched=trial.params not in self.baselines
            and self.hops.key(student) not in self.claimed,
            earlier=[student for number, student in self.finished.items() if number <= last],
        )
        self._claim(chain)

    def _claim(self, chain: Chain) -> None:
        *ancestors, _ = chain.hops()
        self.claimed |= {self.hops.key(hop) for hop in ancestors}

    def _fill(self, trial: Trial) -> None:
        """Name the parameters of a trial that was cut off; those it has stay as they are."""
        for name, distribution in self.distributions.items():
            if isinstance(distribution, IntDistribution):
                trial.suggest_int(name, distribution.low, distribution.high)
            else:
                assert isinstance(distribution, CategoricalDistribution)
                trial.suggest_categorical(name, distribution.choices)

    def _settle(self) -> Iterator[Event]:
        """Tell Optuna of every trial in flight that is over by now."""
        for number, flight in list(self.flights.items()):
            ended = self._verdict(flight)
            if ended is not None:
                del self.flights[number]
                record = to_record(self._tell(flight, *ended))
                yield TrialDone(record=record, done=len(self.over), trials=self.trials)

    def _verdict(self, flight: Flight) -> tuple[TrialState, HopRecord | None, Watch] | None:
        """How a trial has ended, with what is known of its student; None while it has not."""
        watch, saved = self._watch(flight), None
        for hop in (*flight.ancestors, flight.student):
            if self.hops.reason(hop) is not None:
                break
            if hop == flight.student:
                saved = self.hops.saved(hop)
            elif not self.hops.has(hop):
                return None
        else:
            return self._judged(flight, watch, saved)
        if hop.lineage == (self.space.teacher,):
            raise TrainingError(self.hops.reason(hop))  # no chain can do without it
        flight.trial.set_user_attr("reason", self.hops.reason(hop))
        if self.hops.key(hop) in self.hops.failed:
            flight.trial.set_user_attr("failed_hop", self.hops.key(hop))
        return TrialState.FAIL, self.hops.saved(flight.student), watch

    def _judged(
        self, flight: Flight, watch: Watch, saved: HopRecord | None
    ) -> tuple[TrialState, HopRecord | None, Watch] | None:
        """The student's curve under the rule, rung by rung, as far as it goes."""
        recipe = flight.student.pupil.recipe
        assert recipe is not None
        curve = saved.curve if saved else ()
        for rungs in range(1, len(curve) + 1):
            assert saved is not None
            if saved.epochs[rungs - 1] < recipe.epochs and watch.stops(curve[:rungs]):
                shorter = replace(
                    saved,
                    epoch=saved.epochs[rungs - 1],
                    epochs=saved.epochs[:rungs],
                    curves=tuple(c[:rungs] for c in saved.curves),
                )
                return TrialState.PRUNED, shorter, watch
        return (TrialState.COMPLETE, saved, watch) if self.hops.has(flight.student) else None

    def _watch(self, flight: Flight) -> Watch:
        search, number = self.study.search, flight.trial.number
        coin = derived_seed("audit", self.study.seed, number) / 2**63
        size = self.measured[flight.student.pupil.width]
        return Watch(
            self.skyline if search.pruner == "skyline" and flight.watched else None,
            params=size.params,
            latency_ms=size.latency_ms,
            finished=flight.earlier,
            audited=coin < search.audit,
        )

    def _tell(
        self, flight: Flight, state: TrialState, saved: HopRecord | None, watch: Watch
    ) -> FrozenTrial:
        trial, student = flight.trial, flight.student
        used = []
        for hop in flight.ancestors:
            used.append(self.hops.use(hop, self.hops.saved(hop)))
            if self.hops.reason(hop) is not None:
                break
        else:
            used += [self.hops.use(student, saved)] if saved else []
        if saved is not None:
            trial.set_user_attr("epochs", list(saved.epochs))
            trial.set_user_attr("curve", list(saved.curve))
            if len(saved.curves) > 1:
                trial.set_user_attr("accuracies", list(saved.accuracies))
        if watch.audit is not None:
            trial.set_user_attr("audit", asdict(watch.audit))
        if state == TrialState.PRUNED:
            trial.set_user_attr("reason", watch.reason)
        trial.set_user_attr("hops", [asdict(use) for use in used])
        values = None
        if state == TrialState.COMPLETE:
            assert saved is not None
            size = self.measured[student.pupil.width]
            values = (saved.curve[-1], size.params, size.latency_ms)
        told = self.optuna.tell(trial, values, state)
        self._learn_from(told)
        return told

    def _submit(self) -> None:
        """Begin what can be begun, for earlier trials first; as many groups as are free, if need
        be smaller ones."""
        found = ((hop, bars) for hop, bars in self._ready() if self.hops.can_begin(hop))
        ready = {self.hops.key(hop): (hop, bars) for hop, bars in found}
        while ready and self.hops.free:
            hops = [hop for hop, _ in ready.values()]
            group = self.hops.group(hops, math.ceil(len(ready) / self.hops.free))
            self.hops.begin(dict(ready.pop(self.hops.key(hop)) for hop in group))

    def _ready(self) -> Iterator[tuple[Hop, tuple[Bar | None, ...]]]:
        """The next hop of each trial, and the bars of a student that nobody needs whole."""
        yield from ((hop, ()) for hop in self.lost)
        for flight in self.flights.values():
            hops = (*flight.ancestors, flight.student)
            hop = next(hop for hop in hops if not self.hops.has(hop))
            bars: tuple[Bar | None, ...] = ()
            if hop == flight.student and self.hops.key(hop) not in self.claimed:
                recipe = hop.pupil.recipe
                assert recipe is not None
                rungs = rung_epochs(recipe.epochs, self.study.search.rungs)
                bars = self._watch(flight).bars(len(rungs))
            yield hop, bars

    def _chain(self, choices: Mapping[str, Any]) -> Chain:
        chain = self.space.chain(choices)
        assert chain is not None and self.space.choices(chain) == choices, choices
        return chain


def describe_recipes(chain: Chain) -> dict[str, Any]:
    """`{"assistants": {...} or None, "student": {...}}`."""
    shared = chain.assistants[0].recipe if chain.assistants else None
    own = chain.student.recipe
    assert own is not None
    return {"assistants": asdict(shared) if shared else None, "student": asdict(own)}
