"""Training hops: from what the store has of them to their ends, reported by events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasearch.chains.hop import Hop
from tasearch.errors import OutOfMemoryError, TrainingError
from tasearch.models.numerics import cpu_threads
from tasearch.pareto.skyline import Thresholds
from tasearch.runs.accuracies import mean_of_known
from tasearch.runs.events import EpochDone, HopEnded, HopEvent, HopOutcome, HopStarted
from tasearch.train.batches import TrainingJob
from tasearch.train.fast.memory import is_out_of_memory
from tasearch.train.loop import EpochResult, least_epoch
from tasearch.train.state import State
from tasearch.train.trainer import Trainer
from tasearch.train.workers.replicates import Numbers, average


@dataclass(frozen=True, kw_only=True)
class Task:
    """A hop to train; its ancestors are stored.

    Args:
        key: The hop's key.
        hop: The hop.
        thresholds: The pruner's threshold at each rung; empty to train to the last epoch.
        part: Numbers of the replicates to train, if other workers train the rest; empty for all.
        keep_rungs: Whether to keep the weights of each rung, also if the study does not need them.
    """

    key: str
    hop: Hop
    thresholds: Thresholds = ()
    part: Numbers = ()
    keep_rungs: bool = False


def train_hop(trainer: Trainer, hop: Hop, thresholds: Thresholds = ()) -> Iterator[HopEvent]:
    """Train one hop to its end; see `train_hops`."""
    return train_hops(trainer, [Task(key=trainer.key(hop), hop=hop, thresholds=thresholds)])


def train_hops(trainer: Trainer, tasks: Sequence[Task]) -> Iterator[HopEvent]:
    """Train hops together to their ends, from their last saved rungs.

    Each rung is saved before it is reported, so that closing the iterator, or killing the process,
    loses no finished rung. A loaded teacher is evaluated and stored. The result of a hop depends on
    none of the others. If memory is short, half as many models are stacked, from their last rungs;
    if that does not help, or the user's code fails, each half of the hops is trained by itself.

    Args:
        trainer: The run's trainer.
        tasks: One task, or several whose hops share `stacking_key`.

    Yields:
        For each hop `HopStarted`, `EpochDone` for each epoch, `HopEnded`.

    Raises:
        Exception: A fault that is neither the hop's nor that of the user's code.
    """
    for task in tasks:
        if task.keep_rungs:
            trainer.keep_rungs(task.hop)
    members = [_Member(task) for task in tasks]
    steps, again = _steps(trainer, members), False
    while True:
        try:  # the caller's threads are its own while it has control
            with cpu_threads(trainer.study.training.threads, flush_denormals=True):
                event = next(steps)
        except StopIteration:
            return
        except BaseException as error:  # such as sys.exit() of a user's code
            left = [member for member in members if not member.over]
            if not isinstance(error, Exception) and not any(
                trainer.uses_user_code(m.task.hop) for m in left
            ):
                raise
            again = _halve(trainer, left, error)
            if len(left) == 1 and not again:
                yield _failed(trainer, left[0], error)
                return
            break
        yield event
    tasks = [member.task for member in left]
    del members, left, steps  # with the memory that they hold
    if trainer.graphs is not None:
        trainer.graphs.release()
        trainer.graphs.clear()
    middle = 0 if again else len(tasks) // 2
    for part in filter(None, (tasks[:middle], tasks[middle:])):
        yield from train_hops(trainer, part)


class _Member:
    """One hop of a group."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.states: list[State] = []
        self.jobs: list[TrainingJob] = []
        self.epoch = 0
        self.seconds = 0.0  # its share of the group's
        self.over = False

    def started(self) -> HopStarted:
        hop = self.task.hop
        recipe = hop.model.recipe
        return HopStarted(
            key=self.task.key,
            label=hop.label,
            epoch=self.epoch,
            epochs=recipe.epochs if recipe else 0,
            recipe=recipe.content() if recipe else None,
        )

    def ended(self, outcome: HopOutcome, reason: str = "") -> HopEnded:
        self.over = True
        return HopEnded(
            key=self.task.key,
            label=self.task.hop.label,
            outcome=outcome,
            epoch=self.epoch,
            seconds=round(self.seconds, 3),
            reason=reason,
        )

    def epoch_done(self, results: list[EpochResult]) -> EpochDone:
        """The epoch that all replicates have just done."""
        self.epoch = least_epoch(self.states)
        return EpochDone(
            key=self.task.key,
            label=self.task.hop.label,
            epoch=self.epoch,
            epochs=self.states[0].recipe.epochs,
            loss=average(result.loss for result in results if result.loss is not None),
            accuracy=mean_of_known(result.accuracy for result in results),
        )

    def stops(self, accuracy: float | None) -> bool:
        """Whether it is told to stop at this rung."""
        rung = min(len(state.curve) for state in self.states) - 1
        if accuracy is None or rung >= len(self.task.thresholds):
            return False
        threshold = self.task.thresholds[rung]
        return threshold is not None and threshold.stops(accuracy)


def _steps(trainer: Trainer, members: list[_Member]) -> Iterator[HopEvent]:
    """The same as `train_hops`, as long as nothing fails."""
    since = time.perf_counter()
    for member in members:
        hop = member.task.hop
        if trainer.finished(hop):  # its worker has died after it was stored, before that was told
            member.epoch = hop.model.recipe.epochs if hop.model.recipe else 0
            yield member.started()
            yield member.ended("complete")
            continue
        learning = trainer.begin(hop, member.task.part)
        if learning is not None:
            member.states, member.jobs = learning
            member.epoch = least_epoch(member.states)
        yield member.started()
        whole = member.states and member.epoch == member.states[0].recipe.epochs
        if whole:  # a part that was ended before, or a kill has come before all were put together
            trainer.keep(member.task.hop, member.states, member.task.part)
        if whole or learning is None:
            member.seconds = time.perf_counter() - since
            yield member.ended("complete")
    while active := [member for member in members if not member.over]:
        states = [state for member in active for state in member.states]
        jobs = [job for member in active for job in member.jobs]
        first = active[0].task.hop
        for results in trainer.train(first, states, jobs):
            now, places = time.perf_counter(), iter(results)
            for member in active:
                member.seconds += (now - since) / len(active)
                yield from _after(trainer, member, [next(places) for _ in member.states])
            since = now
            if any(member.over for member in active):  # the others go on without it
                break


def _after(trainer: Trainer, member: _Member, results: list[EpochResult]) -> Iterator[HopEvent]:
    """Save and tell what an epoch has made of a hop."""
    task, event = member.task, member.epoch_done(results)
    for result in results:
        if result.fault:
            yield _failed(trainer, member, TrainingError(result.fault))
            return
    if event.accuracy is not None:
        trainer.keep(task.hop, member.states, task.part)
    yield event
    if event.epoch == event.epochs:
        yield member.ended("complete")
    elif member.stops(event.accuracy):
        yield member.ended("stopped")


def _halve(trainer: Trainer, members: Sequence[_Member], error: BaseException) -> bool:
    """Whether a group that failed may be tried again in less memory."""
    hop, models = members[0].task.hop, sum(len(member.states) for member in members)
    mode, width = trainer.mode(hop), hop.model.width
    return is_out_of_memory(error) and trainer.memory.halve(hop.label, width, mode, models)


def _failed(trainer: Trainer, member: _Member, error: BaseException) -> HopEnded:
    found = trainer.explained(member.task.hop, error)
    outcome: HopOutcome = "out of memory" if isinstance(found, OutOfMemoryError) else "failed"
    return member.ended(outcome, str(found))
