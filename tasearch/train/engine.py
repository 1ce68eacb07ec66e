"""Engines: who trains hops. In this process one after another, or in a pool of workers.

An engine gets tasks and tells what becomes of them. The result of a hop depends on neither.
"""

from __future__ import annotations

import json
import queue
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, Protocol

import torch

from tasearch import errors
from tasearch.errors import RunError
from tasearch.processes import Process, room_beside, room_for
from tasearch.study import Study
from tasearch.train.hops import Task, train_hops
from tasearch.train.messages import HopEnded, Message, Warned, from_json
from tasearch.train.precision import untried
from tasearch.train.trainer import Trainer
from tasearch.train.worker import modes_request

DEATHS = 3  # of workers at one hop, or at their start, before it is given up


class Engine(Protocol):
    """Who trains hops."""

    @property
    def free(self) -> int:
        """Groups of tasks that would be taken up at once."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Begin tasks, one or some that go together; somebody must be free."""

    def messages(self) -> Iterator[Message]:
        """Wait for what happens next; a task's last message is `HopEnded`.

        Raises:
            TasearchError: where an engine, or the disk, fails.
        """

    def close(self) -> None:
        """End at once; no finished rung is lost."""


class Here:
    """In this process, one group of tasks at a time; on CPU with one thread only.

    Several threads flush denormals only where they were started to, as those of a worker are, and
    without that a training can take ten times as long.

    Args:
        trainer: of the run.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._steps: Iterator[Message] | None = None
        self._left = 0  # tasks

    @property
    def free(self) -> int:
        return int(self._steps is None)

    def submit(self, tasks: Sequence[Task]) -> None:
        assert self._steps is None
        self._steps, self._left = train_hops(self._trainer, tasks), len(tasks)

    def messages(self) -> Iterator[Message]:
        assert self._steps is not None
        message = next(self._steps)
        self._left -= isinstance(message, HopEnded)
        if not self._left:
            self._steps = None
        yield message

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()  # type: ignore[attr-defined]
            self._steps = None


class Pool:
    """Worker processes, one thread of control each, spoken to in lines of JSON.

    As many as there are cores beside this process's import at once and can find modes; the others
    follow when all are set up to train. A worker that dies is replaced, and its hop goes on from
    its last saved rung.

    Args:
        devices: of each worker, such as "cuda:1" or "cpu".
        threads: of each worker's operations on CPU.
        processes: started already, of as many threads; those that are not needed are ended.
    """

    def __init__(self, devices: list[str], threads: int, processes: Sequence[Process] = ()) -> None:
        self._setup: dict[str, Any] = {}
        self._threads = threads
        self._queue: queue.Queue[tuple[_Worker, str | None]] = queue.Queue()
        self._deaths: Counter[str] = Counter()
        count = room_beside(threads)
        first, self._others = devices[:count], devices[count:]
        for process in processes[len(first) :]:
            process.end()
        pairs = zip_longest(first, processes[: len(first)])
        self._workers = [self._start(device, process) for device, process in pairs]

    def set_up(self, setup: dict[str, Any]) -> None:
        """Tell all workers what to train; see `tasearch.train.worker`."""
        self._setup = setup
        for worker in self._workers:
            worker.set_up(setup)
        self._workers += map(self._start, self._others)
        self._others = []

    def ask_modes(self, study: Study, fingerprint: str, widths: Sequence[int]) -> None:
        """Have the modes of widths found, some by each worker, who loads the data, too."""
        training = study.training
        for i, worker in enumerate(self._workers):
            own, device = widths[i :: len(self._workers)], torch.device(worker.device)
            worker.widths = dict.fromkeys(own, str(untried(training.precision, device)))
            worker.set_up(modes_request(study, fingerprint, own))

    def modes(self) -> dict[int, str]:
        """What they have found; for a width whose trial somebody died of, what needs none.

        Raises:
            RunError: where too many have died.
        """
        found: dict[int, str] = {}
        asked = [*self._workers]
        while asked:
            worker, kind, content = self._next()
            if kind is None:
                found |= worker.widths
                words = [*self._replace(worker)]
                assert not words, "it had nothing to train"
            else:
                found |= {int(width): mode for width, mode in content.items()}
            if worker in asked:  # not an heir
                asked.remove(worker)
        return found

    @property
    def free(self) -> int:
        return sum(not worker.tasks for worker in self._workers)

    def submit(self, tasks: Sequence[Task]) -> None:
        next(worker for worker in self._workers if not worker.tasks).give(tasks)

    def messages(self) -> Iterator[Message]:
        worker, kind, content = self._next()
        if kind is None:
            yield from self._replace(worker)
            return
        message = from_json(kind, content)
        if isinstance(message, HopEnded):
            worker.tasks = [task for task in worker.tasks if task.key != message.key]
        yield message

    def close(self) -> None:
        for worker in self._workers:
            worker.process.end()

    def _next(self) -> tuple[_Worker, str | None, Any]:
        """Who says what next; None where somebody has died."""
        worker, line = self._queue.get()
        if line is None:
            return worker, None, None
        kind, content = json.loads(line)
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
        self.widths: dict[int, str] = {}  # that it finds the modes of, with those to take otherwise
        process.listen(lambda line: lines.put((self, line)))

    def give(self, tasks: Sequence[Task], *, apart: bool = False) -> None:
        self.tasks = [*tasks]
        for part in [[task] for task in tasks] if apart else [tasks]:
            self.process.say({"tasks": [asdict(task) for task in part]})

    def set_up(self, setup: Mapping[str, Any]) -> None:
        self.process.say({**setup, "device": self.device})


def worker_devices(workers: str, device: torch.device, threads: int) -> list[str]:
    """The device of each worker.

    Args:
        workers: a number, or "auto": one for each GPU, or as many as the cores have room for.
        device: "cuda", or "cpu".
        threads: of each worker on CPU.

    Raises:
        RunError: where it is neither.
    """
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if workers == "auto":
        number = count or room_for(threads)
    elif workers.isdecimal() and int(workers) > 0:
        number = int(workers)
    else:
        raise RunError(f'--workers: should be "auto" or a number from 1, found {workers!r}')
    return [f"cuda:{i % count}" if count else device.type for i in range(number)]
