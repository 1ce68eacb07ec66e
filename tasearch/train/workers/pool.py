"""A pool: an engine that trains hops in worker processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode, modes_as_text, modes_from_text
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import StudyError
from tasearch.runs.addresses import store_address
from tasearch.runs.events import EpochDone, HopEnded, HopEvent, HopOutcome, Notice, hop_event
from tasearch.runs.store import Store
from tasearch.train.fast.autotuning import untuned_mode
from tasearch.train.tasks import Task
from tasearch.train.workers.processes import Process
from tasearch.train.workers.remote import ANSWERS, RemoteWorker
from tasearch.train.workers.replicates import ReplicateMerger
from tasearch.train.workers.supervisor import DEATHS, Supervisor
from tasearch.train.workers.worker_process import Death, WorkerProcess


class Pool:
    """Worker processes that train hops, each on a device of its own, spoken to in lines of JSON.

    They are on this machine, or on those of a cluster. Here, those that have room beside this
    process start at once and can find modes; the others follow when this process waits for these,
    or when training begins. A worker that dies, or makes no progress for too long, is replaced, and
    its hop continues from its last saved rung.

    Args:
        devices: The device of each worker, such as "cuda:1" or "cpu".
        study: The study that is searched.
        processes: Processes that were started before, with as many threads as the study says; those
            that are not needed are ended.
        elsewhere: Starts a process on another machine; None to start all of them on this one.
        folder: The folder in which the workers find the data; None if they are on this machine.
        deliver: Brings the file of the data to machines that do not see this folder, and names it.
    """

    def __init__(
        self,
        devices: list[str],
        study: Study,
        processes: Sequence[Process] = (),
        *,
        elsewhere: Callable[[], WorkerProcess] | None = None,
        folder: Path | None = None,
        deliver: Callable[[Path], str | None] = lambda file: None,
    ) -> None:
        training, self._study, self._folder = study.training, study, folder
        self._deliver = cache(deliver)  # the data stay the same
        limit = training.stall_minutes * 60
        self._supervisor = Supervisor(devices, training.threads, limit, processes, elsewhere)
        self._waiting: list[_Waiting] = []  # for a worker that has a machine
        self._data: SharedDataset | None = None
        # by hop and by whether the hop itself was the cause
        self._deaths: defaultdict[tuple[str, bool], list[Death]] = defaultdict(list)
        self._mergers: dict[str, ReplicateMerger] = {}  # of hops that several workers share

    def call(self, function: str, content: Mapping[str, Any]) -> Any:
        """Call a function in a worker: one that runs the user's code, before this process runs it.

        Args:
            function: A function of tasearch as `"module:name"`. It is called with `content`, and
                with a function to which it reports each of its steps in words.
            content: Its argument, of plain values.

        Returns:
            What the function returns.

        Raises:
            StudyError: The code ends the worker, or hangs.
            TasearchError: The function raises it.
        """
        question, deaths = {"call": function, **content}, 0
        asked = self._supervisor.workers[0]
        asked.ask(question)
        while True:
            worker, kind, answer = self._supervisor.next()
            if kind == "At":
                worker.at = answer
            elif kind == "Done":
                worker.asked = False
                return answer
            elif isinstance(answer, Death):
                replacement = self._supervisor.replace(worker, answer)
                if worker is not asked:
                    continue
                deaths += worker.set_up_done
                if worker.set_up_done and (answer.own or deaths == DEATHS):
                    raise StudyError(f"{worker.at or 'code of yours'}: its process {answer.words}")
                asked = replacement
                asked.ask(question)

    def adopt(self, data: str) -> Dataset:
        """Keep the data set that a worker has loaded, for all workers and this process.

        Args:
            data: Path of the worker's `SharedDataset`.
        """
        self._data = SharedDataset.adopt(data)
        return read_shared(self._data.path)

    def share_data(self, data: Dataset) -> str:
        """The path at which workers read the data set."""
        self._data = self._data or SharedDataset(data, self._folder)
        return self._data.path

    def ask_modes(self, data: Dataset, widths: Sequence[int]) -> None:
        """Have the workers that have started find the modes of widths, some each."""
        training = self._study.training
        for i, worker in enumerate(self._supervisor.workers):
            own, device = widths[i :: len(self._supervisor.workers)], torch.device(worker.device)
            worker.widths = dict.fromkeys(own, untuned_mode(training.precision, device))
            worker.ask(self._known(data) | {"widths": own, "device": worker.device})

    def modes(self, warn: Callable[[str], None]) -> dict[int, Mode]:
        """Wait for the modes that `ask_modes` asked for.

        Args:
            warn: Called with what a measurement finds broken.

        Returns:
            The mode of each width; the plainest one where a worker has died of measuring it.

        Raises:
            RunError: Too many workers have died.
        """
        found: dict[int, Mode] = {}
        while any(worker.asked or not worker.ready for worker in self._supervisor.workers):
            if self._supervisor.quiet:  # a core has nothing else to do
                self._supervisor.start_others()
            worker, kind, content = self._supervisor.next()
            if kind == "Notice":
                warn(content["message"])
            if isinstance(content, Death):
                self._supervisor.replace(worker, content)
            if worker.asked and (isinstance(content, Death) or kind == "Modes"):
                worker.asked = False
                given = content if kind == "Modes" else None
                found |= modes_from_text(given) if given else worker.widths
        return found

    def set_up(
        self,
        study: Study,
        data: Dataset,
        store: Store,
        modes: Mapping[int, Mode],
        separable: Callable[[Hop], Sequence[int]],
        code: UserCode,
    ) -> None:
        """Tell all workers what to train for from now on; they have no tasks.

        Args:
            study: The study.
            data: The data set of the study.
            store: The store of the hops.
            modes: Mode of training of each width.
            separable: Returns the replicates of a hop that several workers may share.
            code: The user's source code, which each worker has to find unchanged.
        """
        setup = self._known(data) | {
            "study": study.model_dump_json(),
            "store": store_address(store),
            "data_name": self._deliver(Path(self.share_data(data))),
            "modes": modes_as_text(modes),
            "code": {str(file): digest for file, digest in code.digests.items()},
        }
        self._separable = separable
        self._supervisor.set_up(setup)

    @property
    def free_workers(self) -> int:
        nothing = not self._waiting and not any(w.tasks for w in self._supervisor.workers)
        return max(len(self._supervisor.idle) - len(self._waiting), int(nothing))

    def submit(self, tasks: Sequence[Task]) -> None:
        """Begin tasks that train together, or one task.

        The replicates of a hop that cannot be stopped, such as the teacher, are shared among all
        idle workers: the trials that wait for it can then start sooner.
        """
        idle = self._supervisor.idle
        if not idle:
            self._waiting.append(_Waiting(tasks))
            return
        first = tasks[0]
        numbers = () if len(tasks) > 1 or any(first.thresholds) else self._separable(first.hop)
        count = min(len(idle), len(numbers))
        if count < 2:
            idle[0].give(tasks)
            return
        shares = [tuple(numbers[i::count]) for i in range(count)]
        self._mergers[first.key] = ReplicateMerger(shares)
        for worker, share in zip(idle, shares, strict=False):
            worker.give([replace(first, part=share)])

    def events(self) -> Iterator[HopEvent]:
        worker, kind, content = self._supervisor.next()
        if isinstance(content, Death):
            told: Iterable[HopEvent] = self._replace(worker, content)
        else:
            told = [] if kind in ANSWERS else [hop_event(kind, content)]
        for event in told:
            merged = self._merged(worker, event)
            if isinstance(event, HopEnded):
                worker.tasks = [task for task in worker.tasks if task.key != event.key]
            elif isinstance(event, EpochDone):
                self._forget_lost(event.key)
            if merged is not None:
                yield merged
        while self._waiting and (idle := self._supervisor.idle):
            given = self._waiting.pop(0)
            idle[0].give(given.tasks, apart=given.apart)

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
        self._supervisor.end()
        if self._data is not None:
            self._data.close()

    def _known(self, data: Dataset) -> dict[str, Any]:
        return {"study": self._study.model_dump_json(), "data": self.share_data(data)}

    def _replace(self, dead: RemoteWorker, death: Death) -> Iterator[HopEvent]:
        """Give a dead worker's tasks to a new worker, unless too many workers have died of one.

        Hops that were trained together continue one by one, so that a death is not counted for
        another hop.
        """
        replacement, tasks = self._supervisor.replace(dead, death), dead.tasks
        if tasks and dead.set_up_done and not dead.together:
            # apart by cause: a worker that others kill costs the hop none of its own tries
            deaths = self._deaths[tasks[0].key, death.own]
            deaths.append(death)
            if len(deaths) >= DEATHS or death.final:
                cause, *tasks = tasks
                yield _given_up(cause, deaths)
        for task in tasks:
            words = f"a worker {death.words}; hop {task.hop.label} goes on in a new one"
            yield Notice(message=words)
        if tasks and replacement.placed:
            replacement.give(tasks, apart=True)
        elif tasks:
            self._waiting.append(_Waiting(tasks, apart=True))

    def _forget_lost(self, key: str) -> None:
        """Count no loss of a machine against a hop that has got further since."""
        deaths = self._deaths.get((key, False))
        if deaths:
            deaths[:] = [death for death in deaths if not death.lost]


@dataclass(frozen=True)
class _Waiting:
    """Tasks that no worker has.

    Args:
        tasks: The tasks.
        apart: Whether they are trained one by one, because a worker has died of them.
    """

    tasks: Sequence[Task]
    apart: bool = False


def _given_up(task: Task, deaths: Sequence[Death]) -> HopEnded:
    """The end of a hop of which its workers died: failed, or probably out of memory."""
    last = deaths[-1]
    reason = f"hop {task.hop.label}: its worker {last.words}"
    if not last.final:
        memory = "" if last.own or last.lost else "; out of memory?"
        reason += f", {len(deaths)} times{memory}"
    outcome: HopOutcome = "failed" if last.own or last.final else "out of memory"
    label = task.hop.label
    return HopEnded(key=task.key, label=label, outcome=outcome, epoch=0, seconds=0.0, reason=reason)
