"""The driver: ask Optuna, have the hops of its chains trained, tell.

Trials overlap, `search.lookahead` of them at most. What is proposed and what is stopped depends on
the trials that far before alone, so neither the engine nor the number of workers changes a result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from tasearch.chain import Chain, Hop, derived_seed, label
from tasearch.errors import RunError, TrainingError
from tasearch.record import HopUse
from tasearch.search.events import (
    EpochDone,
    Event,
    Finished,
    HopDone,
    HopReused,
    HopStarted,
    HopStopped,
    Notice,
    TrialDone,
    TrialStarted,
)
from tasearch.search.journal import open_study, to_record
from tasearch.search.prepare import Prepared
from tasearch.search.sampler import ChainSampler, distributions, make_sampler
from tasearch.skyline import Finished as FinishedStudent
from tasearch.skyline import Skyline, Watch
from tasearch.store import HopRecord
from tasearch.train import Trainer
from tasearch.train.engine import Engine, Here, Pool, Task
from tasearch.train.loop import rung_epochs
from tasearch.train.messages import HopBegun, HopEnded, HopEpoch, Message, Warned
from tasearch.train.worker import training_setup

HARDLY = 1.5  # times chance
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
            driver.close()


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
        self.chance = 1 / prepared.data.num_classes
        self.warnings: list[str] = []  # not yet told
        self.warned: set[str] = set()
        self.store = self.run.store(self._warn)
        self.trainer = Trainer(
            study=self.study,
            models=prepared.models,
            data=prepared.data,
            store=self.store,
            device=prepared.device,
            modes=prepared.snapshot.modes,
        )
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
        self.finished: dict[int, FinishedStudent] = {}
        self.claimed: set[str] = set()  # hops that some trial needs whole
        self.lost: list[Hop] = []  # of trials that are over, to be trained again
        self.training: dict[str, Hop] = {}
        self.begun: dict[str, float] = {}  # when, of those in training
        self.failed: dict[str, str] = {}  # hop to reason: not tried again
        self.full: dict[str, str] = {}  # likewise, for want of memory, in this run of the driver
        self.whole: set[str] = set()  # hops verified on disk
        self._prepared = prepared
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Made when there is something to train."""
        if self._engine is None:
            prepared, devices = self._prepared, self._prepared.workers
            if devices == ["cuda:0"] or (devices == ["cpu"] and self.study.training.threads == 1):
                self._engine = Here(self.trainer)
            else:
                modes, data = dict(prepared.snapshot.modes), prepared.data.fingerprint
                pool = prepared.pool or Pool(devices, self.study.training.threads)
                pool.set_up(training_setup(self.study, self.run.path, modes, data))
                self._engine = pool
        return self._engine

    def close(self) -> None:
        """End the engine, and note the hops that it leaves unfinished."""
        engine = self._engine or self._prepared.pool
        if engine is not None:
            engine.close()
        for key, begun in self.begun.items():
            seconds = round(time.perf_counter() - begun, 3)
            self.run.log("stopped", hop=key, seconds=seconds)
        self.begun.clear()

    def events(self) -> Iterator[Event]:
        self._recall()
        self.run.log("search", trials=self.trials)
        while True:
            yield from self._ask()
            yield from self._settle()
            yield from self._notices()
            if self._may_ask():
                continue
            self._submit()
            if not self.training:
                break
            ended = False
            while not ended:
                for message in self.engine.messages():
                    yield from self._take(message)
                    ended = ended or isinstance(message, HopEnded)
        assert not self.flights, "a trial waits for a hop that nobody trains"
        done = len(self.over)
        reason = f"{done} trials are done"
        if done < self.trials:
            reason = f"all {self.space.size} chains have been tried"
        yield Finished(reason=reason, done=done)

    # Trials

    def _recall(self) -> None:
        """Take in what earlier runs did, and the trials that were cut off."""
        trials = [
            t for t in self.optuna.get_trials(deepcopy=False) if t.state != TrialState.WAITING
        ]
        self.asked = len(trials)
        for choices in self.baselines[len(self.optuna.get_trials(deepcopy=False)) :]:
            self.optuna.enqueue_trial(choices)  # they are trials 0 .. of every study
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
        if trial.state == TrialState.COMPLETE:
            size = self.measured[int(trial.params["student"])]
            self.finished[trial.number] = FinishedStudent(
                curve=tuple(trial.user_attrs["curve"]),
                params=size.params,
                latency_ms=size.latency_ms,
            )
        elif "failed_hop" in trial.user_attrs:
            self.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def _damaged(self, trial: FrozenTrial) -> list[Hop]:
        """What a trial that is over has lost."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return []
        *ancestors, student = self._chain(trial.params).hops()
        whole = [student] if trial.state == TrialState.COMPLETE else []
        return [hop for hop in (*ancestors, *whole) if not self._has(hop)]

    def _may_ask(self) -> bool:
        """Whether there is another trial, and all that its proposal depends on is over."""
        if self.asked >= self.trials or self.lost:
            return False
        if self.sampler.exhausted:
            return False
        return all(number in self.over for number in range(self.asked - self.lookahead + 1))

    def _ask(self) -> Iterator[Event]:
        while self._may_ask():
            trial = self.optuna.ask(self.distributions)
            self.asked += 1
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
                if self._key(hop) in claimed or self._has(hop):
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
            watched=trial.params not in self.baselines and self._key(student) not in self.claimed,
            earlier=[student for number, student in self.finished.items() if number <= last],
        )
        self._claim(chain)

    def _claim(self, chain: Chain) -> None:
        *ancestors, _ = chain.hops()
        self.claimed |= {self._key(hop) for hop in ancestors}

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
            if self._reason(hop) is not None:
                break
            if hop == flight.student:
                saved = self.trainer.saved(hop)
            elif not self._has(hop):
                return None
        else:
            return self._judged(flight, watch, saved)
        if hop.lineage == (self.space.teacher,):
            raise TrainingError(self._reason(hop))  # no chain can do without it
        flight.trial.set_user_attr("reason", self._reason(hop))
        if self._key(hop) in self.failed:
            flight.trial.set_user_attr("failed_hop", self._key(hop))
        return TrialState.FAIL, self.trainer.saved(flight.student), watch

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
        return (TrialState.COMPLETE, saved, watch) if self._has(flight.student) else None

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
            used.append(self._use(hop, self.trainer.saved(hop)))
            if self._reason(hop) is not None:
                break
        else:
            used += [self._use(student, saved)] if saved else []
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

    # Hops

    def _submit(self) -> None:
        """Give the engine what it can begin, earlier trials first."""
        for hop, bars in self._ready():
            if not self.engine.free:
                return
            key = self._key(hop)
            if key not in self.training:
                self.training[key] = hop
                self.engine.submit(Task(key=key, hop=hop, bars=bars))

    def _ready(self) -> Iterator[tuple[Hop, tuple[Any, ...]]]:
        """The next hop of each trial, and the bars of a student that nobody needs whole."""
        yield from ((hop, ()) for hop in self.lost if self._can_begin(hop))
        for flight in self.flights.values():
            hops = (*flight.ancestors, flight.student)
            hop = next((hop for hop in hops if not self._has(hop)), None)
            if hop is None or not self._can_begin(hop):
                continue
            bars: tuple[Any, ...] = ()
            if hop == flight.student and self._key(hop) not in self.claimed:
                recipe = hop.pupil.recipe
                assert recipe is not None
                rungs = rung_epochs(recipe.epochs, self.study.search.rungs)
                bars = self._watch(flight).bars(len(rungs))
            yield hop, bars

    def _can_begin(self, hop: Hop) -> bool:
        return hop.ancestor is None or self._has(hop.ancestor)

    def _take(self, message: Message) -> Iterator[Event]:
        """What an engine tells, as the events and notes that it means."""
        if isinstance(message, Warned):
            self._warn(message.text)
            return
        hop = self.training[message.key]
        recipe = hop.pupil.recipe
        if isinstance(message, HopBegun):
            epochs = recipe.epochs if recipe else 0
            yield HopStarted(key=message.key, label=hop.label, epoch=message.epoch, epochs=epochs)
            self.run.log("start", hop=message.key, label=hop.label, epoch=message.epoch)
            self.begun[message.key] = time.perf_counter()
        elif isinstance(message, HopEpoch):
            yield EpochDone(key=message.key, label=hop.label, **vars(message.progress))
        elif isinstance(message, HopEnded):
            del self.training[message.key]
            self.begun.pop(message.key, None)
            yield from self._land(hop, message)

    def _land(self, hop: Hop, ended: HopEnded) -> Iterator[Event]:
        key, outcome = ended.key, ended.outcome
        words = "failed" if outcome == "memory" else outcome
        self.run.log(words, hop=key, epoch=ended.epoch, seconds=ended.seconds)
        if outcome == "failed":
            self.failed[key] = ended.reason
        elif outcome == "memory":
            self.full[key] = ended.reason
        if outcome != "stopped":
            self.lost = [other for other in self.lost if other != hop]
        if outcome != "end":
            yield HopStopped(key=key, label=hop.label, epoch=ended.epoch)
            return
        self.whole.add(key)
        done = self.trainer.saved(hop)
        assert done is not None, f"hop {hop.label} has ended and is not stored"
        teacher, accuracy = hop.lineage == (self.space.teacher,), done.curve[-1]
        yield HopDone(key=key, label=hop.label, accuracy=accuracy, teacher=teacher)
        if teacher and accuracy < HARDLY * self.chance:
            yield Notice(
                message=f"the teacher is right in {accuracy:.2%} of the validation part, "
                f"hardly better than chance; if it was loaded, see teacher.inputs"
            )

    def _reason(self, hop: Hop) -> str | None:
        """Why a hop cannot be had."""
        key = self._key(hop)
        return self.failed.get(key) or self.full.get(key)

    def _use(self, hop: Hop, saved: HopRecord | None) -> HopUse:
        epochs = hop.pupil.recipe.epochs if hop.pupil.recipe else 0
        trained = saved.epoch if saved else 0
        return HopUse(key=self._key(hop), width=hop.pupil.width, epochs=epochs, trained=trained)

    def _has(self, hop: Hop) -> bool:
        key = self._key(hop)
        if key not in self.whole and key not in self.training and self.store.has(key):
            self.whole.add(key)
            self.store.drop("partial", key)  # a kill may have come between
        return key in self.whole

    def _key(self, hop: Hop) -> str:
        return self.trainer.key(hop)

    def _chain(self, choices: Mapping[str, Any]) -> Chain:
        chain = self.space.chain(choices)
        assert chain is not None and self.space.choices(chain) == choices, choices
        return chain

    def _notices(self) -> Iterator[Event]:
        while self.warnings:
            yield Notice(message=self.warnings.pop(0))

    def _warn(self, message: str) -> None:
        if message not in self.warned:
            self.warned.add(message)
            self.warnings.append(message)


def describe_recipes(chain: Chain) -> dict[str, Any]:
    """`{"assistants": {...} or None, "student": {...}}`."""
    shared = chain.assistants[0].recipe if chain.assistants else None
    own = chain.student.recipe
    assert own is not None
    return {"assistants": asdict(shared) if shared else None, "student": asdict(own)}
