"""A worker, as seen by the process that started it."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tasearch.chains.mode import Mode
from tasearch.runs.events import hop_event
from tasearch.train.tasks import Task
from tasearch.train.workers.worker_process import WorkerProcess

ANSWERS = ("Ready", "SetUp", "At", "Alive", "Modes", "Done", "error", "bug")  # besides events
START_S = 600.0  # seconds in which a worker imports what it needs, on the slowest disk


class RemoteWorker:
    """A worker process and what it is doing.

    Args:
        process: The worker's process.
        device: The device on which it trains.
        lines: A queue that gets each line of the worker, and None once it is dead.
    """

    def __init__(
        self,
        process: WorkerProcess,
        device: str,
        lines: queue.Queue[tuple[RemoteWorker, str | None]],
    ) -> None:
        self.process, self.device = process, device
        self.tasks: list[Task] = []  # not ended yet
        self.asked = False  # to find modes, or to call a function
        self.at = ""  # the last step of that function, in words
        self.widths: dict[int, Mode] = {}  # to find modes for; these are taken if it dies
        self.ready = False  # it has imported all
        self._apart = True  # whether its tasks are trained one by one
        self._owed = 1  # answers that are due: to its start, and to each setup
        self.silence = 0.0  # seconds without a line while it has work
        process.listen(lambda line: self._put(lines, line))

    @property
    def placed(self) -> bool:
        """Whether there is a machine for it."""
        return self.process.placed

    @property
    def set_up_done(self) -> bool:
        """Whether it has started and is set up, so that it did not die of starting."""
        return not self._owed

    @property
    def together(self) -> bool:
        """Whether it trains several hops together, any of which may be the cause of its death."""
        return not self._apart and len(self.tasks) > 1

    def ask(self, question: Mapping[str, Any]) -> None:
        """Have it find modes, or call a function."""
        self.asked, self.at, self.silence = True, "", 0.0
        self.process.say(question)

    def give(self, tasks: Sequence[Task], *, apart: bool = False) -> None:
        """Have it train tasks, together or one by one."""
        self.tasks, self._apart, self.silence = [*tasks], apart, 0.0
        for part in [[task] for task in tasks] if apart else [tasks]:
            self.process.say({"tasks": [asdict(task) for task in part]})

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Tell it what to train for."""
        self._owed += 1
        self.process.say({**setup, "device": self.device})

    def hear(self, line: str) -> tuple[str, Any]:
        """The kind and the content of a line.

        Raises:
            ValueError: The line is not JSON of two entries.
            TypeError: Its content is not that of its kind.
            KeyError: Its kind is not known.
        """
        kind, content = json.loads(line)
        if kind in ("Ready", "SetUp"):
            self._owed -= 1
            self.ready = True
        elif kind not in ANSWERS:
            hop_event(kind, content)
        return kind, content

    def wait(self, seconds: float) -> None:
        """Note that this process has waited for lines for so many seconds."""
        if self.placed and (self.tasks or self.asked or self._owed):
            self.silence += seconds

    def stuck(self, limit: float) -> float | None:
        """The seconds without progress if they are too many, else None.

        Args:
            limit: Seconds without progress that are allowed; at least `START_S` while it imports.
        """
        limit = limit if self.ready else max(limit, START_S)
        return limit if self.silence > limit else None

    def _put(self, lines: queue.Queue[tuple[RemoteWorker, str | None]], line: str | None) -> None:
        self.silence = 0.0
        lines.put((self, line))
