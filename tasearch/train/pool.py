"""A pool: worker processes that train hops, each on a device of its own."""

from __future__ import annotations

import json
import queue
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from tasearch import errors
from tasearch.chain import Hop
from tasearch.data import Dataset
from tasearch.data.handover import Handover
from tasearch.errors import RunError
from tasearch.processes import Process, room_beside
from tasearch.study import Study
from tasearch.train.hops import Task
from tasearch.train.messages import HopEnded, Message, Warned, from_json
from tasearch.train.parts import Whole
from tasearch.train.precision import untried

DEATHS = 3  # of workers at one hop, or at their start, before it is given up


class Pool:
    """Worker processes, one thread of control each, spoken to in lines of JSON.

    As many as have room beside this process import at once and can find modes; the others follow
    when this process waits for these, or training begins. A worker that dies is replaced, and its
    hop goes on from its last saved rung.

    Args:
        devices: of each worker, such as "cuda:1" or "cpu".
        threads: of each worker's operations on CPU.
        processes: started already, of as many threads; those that are not needed are ended.
    """

    def __init__(self, devices: list[str], threads: int, processes: Sequence[Process] = ()) -> None:
        self._setup: dict[str, Any] = {}
        self._data: Handover | None = None
        self._threads = threads
        self._queue: queue.Queue[tuple[_Worker, str | None]] = queue.Queue()
        self._deaths: Counter[str] = Counter()
        self._wholes: dict[str, Whole] = {}  # hops that are in training in parts
        count = room_beside(threads)
        first, self._others = devices[:count], devices[count:]
        for process in processes[len(first) :]:
            process.end()
        pairs = zip_longest(first, processes[: len(first)])
        self._workers = [self._start(device, process) for device, process in pairs]

    def ask_modes(self, study: Study, data: Dataset, widths: Sequence[int]) -> None:
        """Have the modes of widths found, some by each worker that has begun."""
        training = study.training
        for i, worker in enumerate(self._workers):
            own, device = widths[i :: len(self._workers)], torch.device(worker.device)
            worker.widths = dict.fromkeys(own, str(untried(training.precision, device)))
            worker.set_up(self._known(study, data) | {"widths": own})

    def modes(self, warn: Callable[[str], None]) -> dict[int, str]:
        """What they have found, when all are ready and silent; for a width whose trial somebody
        died of, what needs none.

        Args:
            warn: told what their probes find broken.

        Raises:
            RunError: where too many have died.
        """
        found: dict[int, str] = {}
        asked = [*self._workers]
        while asked or not all(worker.ready for worker in self._workers):
            if self._queue.empty():  # a core has nothing else to do
                self._start_others()
            worker, kind, content = self._next()
            if kind == "Ready":
                continue
            if kind == "Warned":
                warn(content["text"])
                continue
            if kind is None:
                told = [*self._replace(worker)]
                assert not told, "it had nothing to train"
                content = worker.widths
            if worker in asked:  # not an heir, nor one that has answered before it died
                asked.remove(worker)
                found |= {int(width): mode for width, mode in content.items()}
        return found

    def set_up(
        self,
        study: Study,
        data: Dataset,
        run: Path,
        modes: Mapping[int, str],
        apart: Callable[[Hop], Sequence[int]],
    ) -> None:
        """Tell all workers what to train for.

        Args:
            study: with everything that a trainer needs.
            data: of it.
            run: the folder of the store.
            modes: by width.
            apart: the replicates of a hop that may be trained in parts.
        """
        self._setup = self._known(study, data) | {"run": str(run.resolve()), "modes": {**modes}}
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
        numbers = () if len(tasks) > 1 or any(first.bars) else self._apart(first.hop)
        count = min(len(idle), len(numbers))
        if count < 2:
            idle[0].give(tasks)
            return
        parts = [tuple(numbers[i::count]) for i in range(count)]
        self._wholes[first.key] = Whole(parts)
        for worker, part in zip(idle, parts, strict=False):
            worker.give([replace(first, part=part)])

    def messages(self) -> Iterator[Message]:
        worker, kind, content = self._next()
        if kind == "Ready":
            return
        told = self._replace(worker) if kind is None else [from_json(kind, content)]
        for message in told:
            whole = self._joined(worker, message)
            if isinstance(message, HopEnded):
                worker.tasks = [task for task in worker.tasks if task.key != message.key]
            if whole is not None:
                yield whole

    def _joined(self, worker: _Worker, message: Message) -> Message | None:
        """A message, or of a hop in parts what all of them tell together, if they do by now."""
        if isinstance(message, Warned) or message.key not in self._wholes:
            return message
        whole = self._wholes[message.key]
        part = next(task.part for task in worker.tasks if task.key == message.key)
        joined = whole.take(part, message)
        if whole.over:
            del self._wholes[message.key]
        return joined

    def close(self) -> None:
        for worker in self._workers:
            worker.process.end()
        if self._data is not None:
            self._data.close()

    def _known(self, study: Study, data: Dataset) -> dict[str, Any]:
        self._data = self._data or Handover(data)
        return {"study": study.model_dump_json(), "data": self._data.path}

    def _start_others(self) -> None:
        self._workers += map(self._start, self._others)
        self._others = []

    def _next(self) -> tuple[_Worker, str | None, Any]:
        """Who says what next; None where somebody has died."""
        worker, line = self._queue.get()
        if line is None:
            return worker, None, None
        kind, content = json.loads(line)
        worker.ready = True  # whatever it says, it has imported all
        if kind == "error":
            raise getattr(errors, content["kind"])(content["message"])
        if kind == "bug":
            raise RuntimeError(f"in a worker:\n{content}")
        return worker, kind, content

    def _start(self, device: str, process: Process | None = None) -> _Worker:
        worker = _Worker(process or Process(self._threads), device, self._queue)
        if self._setup:
            worker.set_up(self._setup)
        return worker

    def _replace(self, dead: _Worker) -> Iterator[Message]:
        """Somebody else takes over, unless too many have died of it; hops that were together go on
        one by one, so that no death is laid to another's charge."""
        words, tasks = dead.process.obituary(), dead.tasks
        key = tasks[0].key if tasks else "start"
        self._deaths[key] += 1
        given_up = self._deaths[key] >= DEATHS
        if given_up and not tasks:
            raise RunError(f"no worker can be started: the last one {words}; use --workers 1")
        heir = self._start(dead.device)
        self._workers[self._workers.index(dead)] = heir
        if not tasks:
            return
        if given_up:
            culprit, *tasks = tasks
            reason = f"hop {culprit.hop.label}: its worker {words} {DEATHS} times, out of memory?"
            yield HopEnded(key=key, outcome="memory", epoch=0, seconds=0.0, reason=reason)
        for task in tasks:
            yield Warned(text=f"a worker {words}; hop {task.hop.label} goes on in a new one")
        if tasks:
            heir.give(tasks, apart=True)


class _Worker:
    """A process, and what it is at."""

    def __init__(self, process: Process, device: str, lines: queue.Queue[Any]) -> None:
        self.process, self.device = process, device
        self.tasks: list[Task] = []  # that it has not ended
        self.ready = False
        self.widths: dict[int, str] = {}  # that it finds the modes of, with those to take otherwise
        process.listen(lambda line: lines.put((self, line)))

    def give(self, tasks: Sequence[Task], *, apart: bool = False) -> None:
        self.tasks = [*tasks]
        for part in [[task] for task in tasks] if apart else [tasks]:
            self.process.say({"tasks": [asdict(task) for task in part]})

    def set_up(self, setup: Mapping[str, Any]) -> None:
        self.process.say({**setup, "device": self.device})
