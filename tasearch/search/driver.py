"""The driver: ask Optuna, train the chain's hops, tell. One at a time, in this process."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from tasearch.chain import Chain, Hop, derived_seed, label
from tasearch.errors import OutOfMemoryError, RunError, TrainingError
from tasearch.record import HopUse
from tasearch.search.events import (
    EpochDone,
    Event,
    Finished,
    HopDone,
    HopReused,
    HopStarted,
    Notice,
    TrialDone,
    TrialStarted,
)
from tasearch.search.journal import open_study, to_record
from tasearch.search.prepare import Prepared
from tasearch.search.sampler import ChainSampler, distributions, make_sampler
from tasearch.skyline import Finished as FinishedStudent
from tasearch.skyline import Skyline, Watch
from tasearch.train import Trainer

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
        yield from Driver(prepared, trials).events()


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
            precision=prepared.snapshot.precision,
        )
        search = self.study.search
        self.sampler = ChainSampler(self.space, make_sampler(self.study), self.study.seed)
        self.distributions = distributions(self.space)
        self.optuna = open_study(self.run, self.study.name, self.sampler)
        self.skyline = Skyline(
            quantile=search.quantile, margin=search.margin, evidence=search.evidence
        )
        self.baselines = [self.space.choices(chain) for chain in self.space.baselines()]
        self.finished: list[FinishedStudent] = []
        self.failed: dict[str, str] = {}  # hop to reason: not tried again
        self.whole: set[str] = set()  # hops verified on disk

    def events(self) -> Iterator[Event]:
        over, resumed = self._recall()
        self._enqueue_baselines()
        self.run.log("search", trials=self.trials)
        yield from self._mend()
        while over < self.trials:
            if resumed:
                trial = Trial(self.optuna, resumed.pop(0))
                self._fill(trial)
            elif self.sampler.exhausted and not self._waiting():
                yield Finished(reason=f"all {self.space.size} chains have been tried", done=over)
                return
            else:
                trial = self.optuna.ask(self.distributions)
            yield from self._evaluate(trial, over)
            over += 1
        yield Finished(reason=f"{over} trials are done", done=over)

    def _recall(self) -> tuple[int, list[int]]:
        """Take in what earlier runs did; how many trials are over, and those cut off."""
        over, resumed = 0, []
        for trial in self.optuna.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING:
                resumed.append(trial._trial_id)
            elif trial.state in OVER:
                over += 1
                self._learn_from(trial)
        return over, resumed

    def _learn_from(self, trial: FrozenTrial) -> None:
        """Take in a trial that is over: its curve, or the hop that would fail again."""
        self.sampler.remember(trial.params)
        if trial.state == TrialState.COMPLETE:
            size = self.measured[int(trial.params["student"])]
            curve = tuple(trial.user_attrs["curve"])
            self.finished.append(
                FinishedStudent(curve=curve, params=size.params, latency_ms=size.latency_ms)
            )
        elif "failed_hop" in trial.user_attrs:
            self.failed[trial.user_attrs["failed_hop"]] = trial.user_attrs["reason"]

    def _enqueue_baselines(self) -> None:
        """The chains without assistants come first: they are trials 0 .. of every study."""
        there = len(self.optuna.get_trials(deepcopy=False))
        for choices in self.baselines[there:]:
            self.optuna.enqueue_trial(choices)

    def _waiting(self) -> bool:
        return bool(self.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def _fill(self, trial: Trial) -> None:
        """Name the parameters of a trial that was cut off; those it has stay as they are."""
        for name, distribution in self.distributions.items():
            if isinstance(distribution, IntDistribution):
                trial.suggest_int(name, distribution.low, distribution.high)
            else:
                assert isinstance(distribution, CategoricalDistribution)
                trial.suggest_categorical(name, distribution.choices)

    def _mend(self) -> Iterator[Event]:
        """Train again what trials that are over have lost to damage."""
        for trial in self.optuna.get_trials(deepcopy=False):
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            *ancestors, student = self._chain(trial.params).hops()
            whole = [student] if trial.state == TrialState.COMPLETE else []
            for hop in (*ancestors, *whole):
                if not self._has(hop):
                    yield from self._training(hop)

    def _evaluate(self, trial: Trial, over: int) -> Generator[Event, None, None]:
        """Train a trial's chain and tell Optuna how it ended."""
        chain = self._chain(trial.params)
        *ancestors, student = chain.hops()
        trial.set_user_attr("chain", list(chain.widths))
        recipes = describe_recipes(chain)
        trial.set_user_attr("recipe", recipes)
        yield TrialStarted(
            number=trial.number, label=label(chain.widths, recipes), done=over, trials=self.trials
        )
        used = []
        try:
            for hop in ancestors:
                yield from self._hop(hop)
                used.append(self._use(hop))
            state = yield from self._student(trial, student)
        except TrainingError as error:
            failed = next(hop for hop in (*ancestors, student) if self._key(hop) in self.failed)
            if failed.lineage == (self.space.teacher,):
                raise  # no chain can do without it
            state = TrialState.FAIL
            trial.set_user_attr("reason", str(error))
            if not isinstance(error, OutOfMemoryError):
                trial.set_user_attr("failed_hop", self._key(failed))
            if failed != student:
                used.append(self._use(failed))
        record = to_record(self._tell(trial, student, used, state))
        yield from self._notices()
        yield TrialDone(record=record, done=over + 1, trials=self.trials)

    def _tell(
        self, trial: Trial, student: Hop, used: list[HopUse], state: TrialState
    ) -> FrozenTrial:
        saved = self.trainer.saved(student)
        if saved is not None:
            trial.set_user_attr("epochs", list(saved.epochs))
            trial.set_user_attr("curve", list(saved.curve))
            used = [*used, self._use(student)]
        trial.set_user_attr("hops", [asdict(use) for use in used])
        values = None
        if state == TrialState.COMPLETE:
            assert saved is not None
            size = self.measured[student.pupil.width]
            values = (saved.curve[-1], size.params, size.latency_ms)
        told = self.optuna.tell(trial, values, state)
        self._learn_from(told)
        return told

    def _student(self, trial: Trial, hop: Hop) -> Generator[Event, None, TrialState]:
        """Train the student under the skyline's eye; baselines run to their end."""
        watch = self._watch(trial, hop)
        saved = self.trainer.saved(hop)
        curve = list(saved.curve) if saved else []
        stopped = False
        assert hop.pupil.recipe is not None
        early = [e for e in saved.epochs if e < hop.pupil.recipe.epochs] if saved else []
        for rungs in range(1, len(early) + 1):  # as a run that was never cut off judged them
            stopped = stopped or watch.stops(curve[:rungs])
        if self._has(hop):
            yield HopReused(label=hop.label)
            stopped = False
        elif not stopped:
            training = self._training(hop)
            for event in training:
                yield event
                if isinstance(event, EpochDone) and event.accuracy is not None:
                    curve.append(event.accuracy)
                    if event.epoch < event.epochs and watch.stops(curve):
                        training.close()
                        stopped = True
                        break
        if watch.audit is not None:
            trial.set_user_attr("audit", asdict(watch.audit))
        if stopped:
            trial.set_user_attr("reason", watch.reason)
        return TrialState.PRUNED if stopped else TrialState.COMPLETE

    def _watch(self, trial: Trial, hop: Hop) -> Watch:
        search = self.study.search
        coin = derived_seed("audit", self.study.seed, trial.number) / 2**63
        size = self.measured[hop.pupil.width]
        prunable = search.pruner == "skyline" and trial.params not in self.baselines
        return Watch(
            self.skyline if prunable else None,
            params=size.params,
            latency_ms=size.latency_ms,
            finished=self.finished,
            audited=coin < search.audit,
        )

    def _hop(self, hop: Hop) -> Iterator[Event]:
        """Train a hop to its end, unless it is stored."""
        if self._has(hop):
            yield HopReused(label=hop.label)
        else:
            yield from self._training(hop)

    def _training(self, hop: Hop) -> Generator[Event, None, None]:
        key = self._key(hop)
        if key in self.failed:
            raise TrainingError(self.failed[key])
        saved = self.trainer.saved(hop)
        epoch = saved.epoch if saved else 0
        yield from self._notices()
        recipe = hop.pupil.recipe
        yield HopStarted(label=hop.label, epoch=epoch, epochs=recipe.epochs if recipe else 0)
        self.run.log("start", hop=key, label=hop.label, epoch=epoch)
        begun, outcome = time.perf_counter(), "stopped"
        try:
            for progress in self.trainer.train(hop):
                epoch = progress.epoch
                yield EpochDone(label=hop.label, **vars(progress))
            outcome = "end"
        except TrainingError as error:
            outcome = "failed"
            self.failed[key] = str(error)
            raise
        finally:
            seconds = round(time.perf_counter() - begun, 3)
            self.run.log(outcome, hop=key, epoch=epoch, seconds=seconds)
        self.whole.add(key)
        done = self.trainer.saved(hop)
        assert done is not None
        teacher = hop.lineage == (self.space.teacher,)
        yield HopDone(label=hop.label, accuracy=done.curve[-1], teacher=teacher)
        if teacher and done.curve[-1] < HARDLY * self.chance:
            yield Notice(
                message=f"the teacher is right in {done.curve[-1]:.2%} of the validation part, "
                f"hardly better than chance; if it was loaded, see teacher.inputs"
            )

    def _use(self, hop: Hop) -> HopUse:
        epochs = hop.pupil.recipe.epochs if hop.pupil.recipe else 0
        trained = epochs
        if not self._has(hop):
            saved = self.trainer.saved(hop)
            trained = saved.epoch if saved else 0
        return HopUse(key=self._key(hop), width=hop.pupil.width, epochs=epochs, trained=trained)

    def _has(self, hop: Hop) -> bool:
        key = self._key(hop)
        if key not in self.whole and self.store.has(key):
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
