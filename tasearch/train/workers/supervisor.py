"""The worker processes of a pool: started, heard, and replaced when they die or hang."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from tasearch import errors
from tasearch.errors import RunError
from tasearch.train.workers.processes import Process, Surroundings, room_beside
from tasearch.train.workers.remote import RemoteWorker
from tasearch.train.workers.worker_process import Death, WorkerProcess

DEATHS = 3  # of workers with one hop, or while they start, before it is given up
TICK = 1.0  # seconds between two looks at silent workers, at most

Heard = tuple[RemoteWorker, str, Any]  # a worker, the kind of its line, and its content


class Supervisor:
    """Worker processes, each on a device of its own.

    On this machine, as many as have room beside this process start at once; `start_others` starts
    the rest.

    Args:
        devices: The device of each worker, such as "cuda:1" or "cpu".
        threads: Number of threads of each worker on CPU.
        limit: Seconds without progress after which a worker is ended.
        processes: Processes that were started before; those that are not needed are ended.
        elsewhere: Starts a process on another machine; None to start all of them on this one.
    """

    def __init__(
        self,
        devices: list[str],
        threads: int,
        limit: float,
        processes: Sequence[Process] = (),
        elsewhere: Callable[[], WorkerProcess] | None = None,
    ) -> None:
        self._limit, around = limit, Surroundings.capture()
        self._start = elsewhere or (lambda: Process(threads, around))
        self._setup: dict[str, Any] = {}
        self._queue: queue.Queue[tuple[RemoteWorker, str | None]] = queue.Queue()
        self._false_starts = 0  # workers in a row that died before they were ready to train
        count = len(devices) if elsewhere else room_beside(threads)
        first, self._others = devices[:count], devices[count:]
        for process in processes[len(first) :]:
            process.end()
        pairs = zip_longest(first, processes[: len(first)])
        self.workers = [self.start(device, process) for device, process in pairs]

    @property
    def idle(self) -> list[RemoteWorker]:
        """Workers without a task that have a machine."""
        return [worker for worker in self.workers if worker.placed and not worker.tasks]

    @property
    def quiet(self) -> bool:
        """Whether no line waits to be read."""
        return self._queue.empty()

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Tell all workers, and those that start later, what to train for."""
        self._setup = {**setup}
        for worker in self.workers:
            worker.set_up(self._setup)
        self.start_others()

    def start_others(self) -> None:
        """Start the workers that had no room beside this process while it was busy."""
        self.workers += map(self.start, self._others)
        self._others = []

    def start(self, device: str, process: WorkerProcess | None = None) -> RemoteWorker:
        """A new worker, set up as the others are."""
        worker = RemoteWorker(process or self._start(), device, self._queue)
        if self._setup:
            worker.set_up(self._setup)
        return worker

    def next(self) -> Heard:
        """Wait for a worker's next line.

        A worker that makes no progress, or writes what no worker writes, is ended. The content is a
        `Death` where a worker has died.

        Raises:
            TasearchError: The worker reports it.
            RuntimeError: The worker reports a fault of tasearch's own.
        """
        while True:
            for worker in self.workers:
                silent = worker.stuck(self._limit)
                if silent is not None:
                    return worker, "", _ended(worker, silent)
            since, tick = time.monotonic(), min(TICK, self._limit / 4)
            heard = None
            with contextlib.suppress(queue.Empty):
                heard = self._queue.get(timeout=tick)
            waited = min(time.monotonic() - since, tick)  # not what this process slept through
            for worker in self.workers:
                worker.wait(waited)
            if heard is not None and heard[0] in self.workers:  # else it was replaced
                return self._heard(*heard)

    def replace(self, dead: RemoteWorker, death: Death) -> RemoteWorker:
        """Start a worker in a dead worker's place.

        Raises:
            RunError: Too many workers in a row have died while they started.
        """
        if not dead.set_up_done and not death.lost:
            self._false_starts += 1
            if self._false_starts >= DEATHS:
                at = f"{dead.at}: " if dead.at else ""
                raise RunError(f"{at}no worker can be started: the last one {death.words}")
        replacement = self.start(dead.device)
        self.workers[self.workers.index(dead)] = replacement
        return replacement

    def end(self) -> None:
        """Kill all workers."""
        for worker in self.workers:
            worker.process.end()

    def _heard(self, worker: RemoteWorker, line: str | None) -> Heard:
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


def _ended(worker: RemoteWorker, silent: float) -> Death:
    """End a worker that makes no progress."""
    worker.process.end()
    key = " (training.stall_minutes)" if worker.ready else ""
    return Death(words=f"made no progress for {silent / 60:g} minutes{key}", final=True)
