"""The hops of a run: which are stored, which are in training, and which cannot be had."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.pareto.metric import Metric
from tasearch.pareto.skyline import Thresholds
from tasearch.runs.accuracies import unseen_text
from tasearch.runs.events import Event, HopEnded, HopStarted, Notice
from tasearch.runs.records import HopUse
from tasearch.runs.store import HopRecord
from tasearch.train.fast.probe import SLOTS
from tasearch.train.tasks import Task
from tasearch.train.workers.engine import Engine


class Archive(Protocol):
    """What has been trained: a `HopArchive`, or a table of results.

    Attributes:
        replicates: Numbers of the replicates of each hop.
    """

    @property
    def replicates(self) -> Sequence[int]: ...

    def key(self, hop: Hop) -> str:
        """The hop's key."""

    def finished(self, hop: Hop) -> bool:
        """Whether the hop is stored and its file is sound."""

    def keep_rungs(self, hop: Hop) -> None:
        """Count the hop as finished only with the weights that it had at each rung."""

    def saved(self, hop: Hop) -> HopRecord | None:
        """The stored record of the hop, finished or not; None if there is none."""

    def stacking_key(self, hop: Hop) -> Hashable:
        """A value that hops share which may be stacked; None if the hop may not be."""


class HopExecutor:
    """The hops of a run, and the engine that trains them.

    Args:
        archive: Keys and records of the stored hops.
        make_engine: Returns the engine; called when there is something to train.
        teacher: The teacher of all chains.
        metric: What models are compared by.
        class_names: Names of the classes by number.
        log: Called with each start and end of a hop, for the event log.
        warnings: Warnings of the archive that have not been reported; the archive appends to it.
        check: Called before a training begins; raises if the user's code has changed.

    Attributes:
        metric: What models are compared by.
        failed: Reason of each hop that failed, by key; these are not tried again.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        make_engine: Callable[[], Engine],
        teacher: ModelSpec,
        metric: Metric,
        class_names: Sequence[str] = (),
        log: Callable[..., None],
        warnings: list[str],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._archive, self._make_engine, self._log = archive, make_engine, log
        self._teacher, self.metric, self._class_names = teacher, metric, class_names
        self._warnings, self._check = warnings, check
        self._warned: set[str] = set()
        self._engine: Engine | None = None
        self._keys: dict[Hop, str] = {}
        self._training: dict[str, Hop] = {}
        self._begun: dict[str, float] = {}  # start of each training, in seconds
        self._whole: set[str] = set()  # keys of finished hops, verified on disk
        self._teaches_early: set[str] = set()  # keys of hops that keep the weights of their rungs
        self._records: dict[str, HopRecord] = {}  # of the finished hops
        self.failed: dict[str, str] = {}
        self._out_of_memory: dict[
            str, str
        ] = {}  # reasons of hops that ran out of memory in this process

    @property
    def busy(self) -> bool:
        """Whether a hop is in training."""
        return bool(self._training)

    @property
    def free_workers(self) -> int:
        """The number of groups of hops that could start now."""
        return self._made_engine().free_workers

    def key(self, hop: Hop) -> str:
        """The hop's key."""
        if hop not in self._keys:
            self._keys[hop] = self._archive.key(hop)
        return self._keys[hop]

    def saved(self, hop: Hop) -> HopRecord | None:
        """The stored record of the hop, finished or not; None if there is none."""
        key = self.key(hop)
        found = self._records.get(key)
        if found is None:
            found = self._archive.saved(hop)
            if found is not None and key in self._whole:
                self._records[key] = found
        return found

    def has(self, hop: Hop) -> bool:
        """Whether the hop is finished and its file is sound."""
        key = self.key(hop)
        if key not in self._whole and key not in self._training and self._archive.finished(hop):
            self._whole.add(key)
        return key in self._whole

    def expect(self, hops: Iterable[Hop]) -> None:
        """Have the teachers of hops that learn from earlier epochs keep the weights of their rungs.

        The study itself asks for that only as long as it tries such hops: a trial may have begun,
        or ended, before its options were removed.

        Args:
            hops: Hops that will be trained.
        """
        for hop in hops:
            for teacher in hop.teachers if hop.model.early else ():
                key = self.key(teacher)
                if key not in self._teaches_early:
                    self._teaches_early.add(key)
                    self._archive.keep_rungs(teacher)
                    self._whole.discard(key)

    def can_begin(self, hop: Hop) -> bool:
        """Whether the hop's teachers are finished, and it is not in training."""
        ready = all(map(self.has, hop.teachers))
        return ready and self.key(hop) not in self._training

    def reason(self, hop: Hop) -> str | None:
        """Why the hop cannot be trained; None if it can."""
        key = self.key(hop)
        return self.failed.get(key) or self._out_of_memory.get(key)

    def hopeless(self, hop: Hop) -> bool:
        """Whether the hop, or a model that it would learn from, cannot be trained."""
        waiting, seen = [hop], {hop}
        while waiting:
            needed = waiting.pop()
            if self.reason(needed) is not None:
                return True
            teachers = {t for t in needed.teachers if t not in seen and not self.has(t)}
            seen |= teachers  # with dense guidance most are teachers of several models
            waiting += teachers
        return False

    def use(self, hop: Hop, saved: HopRecord | None) -> HopUse:
        """The hop as a trial used it.

        Args:
            hop: The hop.
            saved: The hop's record when the trial ended; None if it was not begun.
        """
        epochs = hop.model.recipe.epochs if hop.model.recipe else 0
        trained = saved.epoch if saved else 0
        return HopUse(
            key=self.key(hop),
            width=hop.model.width,
            epochs=epochs,
            trained=trained,
            accuracy=saved.curve[-1] if saved and saved.curves[0] else None,
        )

    def group(self, hops: Sequence[Hop], most: int) -> list[Hop]:
        """The first hop, and those of the others that may be stacked with it, as far as slots go.

        Args:
            hops: Hops that can begin, at least one.
            most: Largest number of hops in the group.
        """
        first, *others = hops
        room = min(most, SLOTS // len(self._archive.replicates))
        shared = self._archive.stacking_key(first) if room > 1 else None
        if shared is None:
            return [first]
        fitting = (hop for hop in others if self._archive.stacking_key(hop) == shared)
        return [first, *islice(fitting, room - 1)]

    def begin(self, tasks: Mapping[Hop, Thresholds]) -> None:
        """Train the hops of a group, with the pruner's thresholds; a worker must be free."""
        self._check()
        found = [
            Task(
                key=self.key(hop),
                hop=hop,
                thresholds=thresholds,
                keep_rungs=self.key(hop) in self._teaches_early,
            )
            for hop, thresholds in tasks.items()
        ]
        self._training |= {task.key: task.hop for task in found}
        self._made_engine().submit(found)

    def wait(self) -> Iterator[Event]:
        """The events until a hop has ended, or the engine has more room than before."""
        engine, ended = self._made_engine(), False
        free = engine.free_workers
        while not ended and engine.free_workers <= free:
            for event in engine.events():
                if isinstance(event, Notice):
                    self._warnings.append(event.message)
                    yield from self.notices()
                elif isinstance(event, HopStarted):
                    yield self._started(event)
                elif isinstance(event, HopEnded):
                    yield from self._ended(event)
                    ended = True
                else:
                    yield event

    def notices(self) -> Iterator[Event]:
        """Warnings that have not been reported yet, each once."""
        while self._warnings:
            message = self._warnings.pop(0)
            if message not in self._warned:
                self._warned.add(message)
                yield Notice(message=message)

    def tell(self, message: str) -> None:
        """Report a warning, once."""
        self._warnings.append(message)

    def close(self) -> None:
        """Stop the engine, and log the hops that it leaves unfinished."""
        if self._engine is not None:
            self._engine.close()
        for key, begun in self._begun.items():
            seconds = round(time.perf_counter() - begun, 3)
            self._log("stopped", hop=key, seconds=seconds)
        self._begun.clear()

    def _made_engine(self) -> Engine:
        """The engine, which is made when it is first needed."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _started(self, event: HopStarted) -> Event:
        self._log("start", hop=event.key, label=event.label, epoch=event.epoch)
        self._begun[event.key] = time.perf_counter()
        teacher = self._is_teacher(self._training[event.key])
        return replace(event, recipe=None) if teacher else event

    def _ended(self, event: HopEnded) -> Iterator[Event]:
        """Note the end of a hop, and yield it with its accuracy."""
        key, outcome = event.key, event.outcome
        hop = self._training.pop(key)
        self._begun.pop(key, None)
        word = {"complete": "end", "out of memory": "failed"}.get(outcome, outcome)
        self._log(word, hop=key, epoch=event.epoch, seconds=event.seconds)
        if outcome == "failed":
            self.failed[key] = event.reason
        elif outcome == "out of memory":
            self._out_of_memory[key] = event.reason
        teacher = self._is_teacher(hop)
        if outcome != "complete":
            yield replace(event, teacher=teacher)
            return
        if key not in self._teaches_early or self._archive.finished(hop):
            self._whole.add(key)  # else it began before its rungs were asked for
        done = self.saved(hop)
        assert done is not None, f"hop {hop.label} has ended and is not stored"
        accuracy = done.curve[-1]
        yield replace(event, accuracy=accuracy, teacher=teacher)
        trained = hop.model.recipe is not None  # of a loaded one it was told before the search
        if teacher and trained and self.metric.near_chance(accuracy):
            found = self.metric.of(accuracy, "the validation part")
            found = f"is right in {found}" if self.metric.is_accuracy else f"has {found}"
            yield Notice(message=f"the teacher {found}, hardly better than chance")
        elif teacher and trained and 0 in done.recalls:
            words = unseen_text(done.recalls, self._class_names)
            yield Notice(message=f"the teacher {words}; students learn from it")

    def _is_teacher(self, hop: Hop) -> bool:
        return hop.lineage == (self._teacher,)
