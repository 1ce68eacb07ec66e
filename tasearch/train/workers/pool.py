"""A pool: worker processes that train hops, each on a device of its own."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from tasearch import errors
from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode, modes_as_text, modes_from_text
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import RunError, StudyError
from tasearch.runs.events import HopEnded, HopEvent, HopOutcome, Notice, hop_event
from tasearch.train.fast.autotuning import untuned_mode
from tasearch.train.tasks import Task
from tasearch.train.workers.processes import Death, Process, Surroundings, room_beside
from tasearch.train.workers.remote import ANSWERS, RemoteWorker
from tasearch.train.workers.replicates import ReplicateMerger

DEATHS = 3  # of workers at one hop, or at their start, before it is given up
TICK = 1.0  # seconds between two looks at who is silent, at most


class Pool:
    """Worker processes, one thread of control each, spoken to in lines of JSON.

    As many as have room beside this process import at once and can find modes; the others follow
    when this process waits for these, or training begins. A worker that dies, or that makes no
    progress for too long, is replaced, and its hop goes on from its last saved rung.

    Args:
        devices: of each worker, such as "cuda:1" or "cpu".
        study: that is searched.
        processes: started already, of as many threads; those that are not needed are ended.
    """

    def __init__(self, devices: list[str], study: Study, processes: Sequence[Process] = ()) -> None:
        self._study, self._around = study, Surroundings.capture()
        self._setup: dict[str, Any] = {}
        self._data: SharedDataset | None = None
        self._queue: queue.Queue[tuple[RemoteWorker, str | None]] = queue.Queue()
        # by hop, those of its own fault and others apart
        self._deaths: defaultdict[tuple[str, bool], list[Death]] = defaultdict(list)
        self._false_starts = 0  # workers in a row that died before they were ready to train
        self._mergers: dict[str, ReplicateMerger] = {}  # of hops that several workers share
        count = room_beside(study.training.threads)
        first, self._others = devices[:count], devices[count:]
        for process in processes[len(first) :]:
            process.end()
        pairs = zip_longest(first, processes[: len(first)])
        self._workers = [self._start(device, process) for device, process in pairs]

    def call(self, function: str, content: Mapping[str, Any]) -> Any:
        """What a function says that runs a user's code, in a worker: before this process runs it.

        Args:
            function: of ours, as `"module:name"`, called with `content` and with a function that
                it tells each of its steps, in words.
            content: for it, of plain values.

        Raises:
            StudyError: where the code ends the worker, or is stuck.
            TasearchError: whatever the function raises.
        """
        question, deaths = {"call": function, **content}, 0
        asked = self._workers[0]
        asked.ask(question)
        while True:
            worker, kind, answer = self._next()
            if kind == "At":
                worker.at = answer
            elif kind == "Done":
                worker.asked = False
                return answer
            elif isinstance(answer, Death):
                replacement = self._replacement(worker, answer)
                if worker is not asked:
                    continue
                deaths += worker.set_up_done
                if worker.set_up_done and (answer.own or deaths == DEATHS):
                    raise StudyError(f"{worker.at or 'code of yours'}: its process {answer.words}")
                asked = replacement
                asked.ask(question)

    def adopt(self, data: str) -> Dataset:
        """Take the data set that a worker has loaded, for all of them and for this process.

        Args:
            data: the path of its `SharedDataset`.
        """
        self._data = SharedDataset.adopt(data)
        return read_shared(self._data.path)

    def hand_over(self, data: Dataset) -> str:
        """The path at which workers find the data set."""
        self._data = self._data or SharedDataset(data)
        return self._data.path

    def ask_modes(self, data: Dataset, widths: Sequence[int]) -> None:
        """Have the modes of widths found, some by each worker that has begun."""
        training = self._study.training
        for i, worker in enumerate(self._workers):
            own, device = widths[i :: len(self._workers)], torch.device(worker.device)
            worker.widths = dict.fromkeys(own, untuned_mode(training.precision, device))
            worker.ask(self._known(data) | {"widths": own, "device": worker.device})

    def modes(self, warn: Callable[[str], None]) -> dict[int, Mode]:
        """What they have found, when all are ready and silent; for a width whose trial somebody
        died of, what needs none.

        Args:
            warn: told what their probes find broken.

        Raises:
            RunError: where too many have died.
        """
        found: dict[int, Mode] = {}
        while any(worker.asked or not worker.ready for worker in self._workers):
            if self._queue.empty():  # a core has nothing else to do
                self._start_others()
            worker, kind, content = self._next()
            if kind == "Notice":
                warn(content["message"])
            if isinstance(content, Death):
                self._replacement(worker, content)
            if worker.asked and (isinstance(content, Death) or kind == "Modes"):
                worker.asked = False
                given = content if kind == "Modes" else None
                found |= modes_from_text(given) if given else worker.widths
        return found

    def set_up(
        self,
        data: Dataset,
        run: Path,
        modes: Mapping[int, Mode],
        apart: Callable[[Hop], Sequence[int]],
        code: UserCode,
    ) -> None:
        """Tell all workers what to train for.

        Args:
            data: of the study.
            run: the folder of the store.
            modes: by width.
            apart: the replicates of a hop that may be trained in parts.
            code: The user's own source, which each worker has to find as it is here.
        """
        self._setup = self._known(data) | {
            "run": str(run.resolve()),
            "modes": modes_as_text(modes),
            "code": {str(file): digest for file, digest in code.digests.items()},
        }
        self._apart = apart
        for worker in self._workers:
            worker.set_up(self._setup)
        self._start_others()

    @property
    def free(self) -> int:
        return sum(not worker.tasks for worker in self._workers)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Begin tasks; the replicates of one that is not to be stopped are shared out among all
        who are free, so that nobody waits for a teacher that others could help to train."""
        idle = [worker for worker in self._workers if not worker.tasks]
        first = tasks[0]
        numbers = () if len(tasks) > 1 or any(first.thresholds) else self._apart(first.hop)
        count = min(len(idle), len(numbers))
        if count < 2:
            idle[0].give(tasks)
            return
        parts = [tuple(numbers[i::count]) for i in range(count)]
        self._mergers[first.key] = ReplicateMerger(parts)
        for worker, part in zip(idle, parts, strict=False):
            worker.give([replace(first, part=part)])

    def events(self) -> Iterator[HopEvent]:
        worker, kind, content = self._next()
        if isinstance(content, Death):
            told: Iterable[HopEvent] = self._replace(worker, content)
        else:
            told = [] if kind in ANSWERS else [hop_event(kind, content)]
        for event in told:
            merged = self._merged(worker, event)
            if isinstance(event, HopEnded):
                worker.tasks = [task for task in worker.tasks if task.key != event.key]
            if merged is not None:
                yield merged

    def _merged(self, worker: RemoteWorker, event: HopEvent) -> HopEvent | None:
        """The event; of a hop whose replicates several workers train, the merged one, if any."""
        if isinstance(event, Notice) or event.key not in self._mergers:
            return event
        merger = self._mergers[event.key]
        share = next(task.part for task in worker.tasks if task.key == event.key)
        merged = merger.merge(share, event)
        if merger.over:
            del self._mergers[event.key]
        return merged

    def close(self) -> None:
        for worker in self._workers:
            worker.process.end()
        if self._data is not None:
            self._data.close()

    def _known(self, data: Dataset) -> dict[str, Any]:
        return {"study": self._study.model_dump_json(), "data": self.hand_over(data)}

    def _start_others(self) -> None:
        self._workers += map(self._start, self._others)
        self._others = []

    def _next(self) -> tuple[RemoteWorker, str, Any]:
        """Who says what next; or a `Death`, of whoever has died, or is ended here for being stuck,
        or for saying what no worker says."""
        limit = self._study.training.stall_minutes * 60
        while True:
            for worker in self._workers:
                silent = worker.stuck(limit)
                if silent is not None:
                    return worker, "", _ended(worker, silent)
            since, tick = time.monotonic(), min(TICK, limit / 4)
            heard = None
            with contextlib.suppress(queue.Empty):
                heard = self._queue.get(timeout=tick)
            waited = min(time.monotonic() - since, tick)  # not what this process slept through
            for worker in self._workers:
                worker.wait(waited)
            if heard is not None and heard[0] in self._workers:  # else it was replaced
                return self._heard(*heard)

    def _heard(self, worker: RemoteWorker, line: str | None) -> tuple[RemoteWorker, str, Any]:
        if line is None:
            death = worker.process.death()
            worker.process.end()  # what it has started, and this process's ends of its pipes
            return worker, "", death
        try:
            kind, content = worker.hear(line)
        except (ValueError, TypeError, KeyError):
            worker.process.end()
            return worker, "", Death(words="wrote into what only its own answers belong in")
        if kind == "error":
            raise getattr(errors, content["kind"])(content["message"])
        if kind == "bug":
            last = content.strip().rpartition("\n")[2]
            raise RuntimeError(f"in a worker: {last}\n{content}")
        if kind in ("Ready", "SetUp") and worker.set_up_done:
            self._false_starts = 0
        return worker, kind, content

    def _start(self, device: str, process: Process | None = None) -> RemoteWorker:
        threads = self._study.training.threads
        worker = RemoteWorker(process or Process(threads, self._around), device, self._queue)
        if self._setup:
            worker.set_up(self._setup)
        return worker

    def _replacement(self, dead: RemoteWorker, death: Death) -> RemoteWorker:
        """Somebody else in a dead worker's place."""
        if not dead.set_up_done:
            self._false_starts += 1
            if self._false_starts >= DEATHS:
                at = f"{dead.at}: " if dead.at else ""
                raise RunError(f"{at}no worker can be started: the last one {death.words}")
        replacement = self._start(dead.device)
        self._workers[self._workers.index(dead)] = replacement
        return replacement

    def _replace(self, dead: RemoteWorker, death: Death) -> Iterator[HopEvent]:
        """Somebody else takes over, unless too many have died of it; hops that were together go on
        one by one, so that no death is laid to another's charge."""
        replacement, tasks = self._replacement(dead, death), dead.tasks
        if tasks and dead.set_up_done and not dead.together:
            # by kind, so that what others kill does not shorten what the hop itself would do
            deaths = self._deaths[tasks[0].key, death.own]
            deaths.append(death)
            if len(deaths) >= DEATHS or death.final:
                guilty, *tasks = tasks
                yield _given_up(guilty, deaths)
        for task in tasks:
            words = f"a worker {death.words}; hop {task.hop.label} goes on in a new one"
            yield Notice(message=words)
        if tasks:
            replacement.give(tasks, apart=True)


def _ended(worker: RemoteWorker, silent: float) -> Death:
    """End a worker that makes no progress."""
    worker.process.end()
    key = " (training.stall_minutes)" if worker.ready else ""
    return Death(words=f"made no progress for {silent / 60:g} minutes{key}", final=True)


def _given_up(task: Task, deaths: Sequence[Death]) -> HopEnded:
    """The end of a hop that its workers died of: by its own fault, or for want of memory, as far as
    can be told from outside."""
    last = deaths[-1]
    reason = f"hop {task.hop.label}: its worker {last.words}"
    if not last.final:
        reason += f", {len(deaths)} times" + ("" if last.own else "; out of memory?")
    outcome: HopOutcome = "failed" if last.own or last.final else "out of memory"
    label = task.hop.label
    return HopEnded(key=task.key, label=label, outcome=outcome, epoch=0, seconds=0.0, reason=reason)
