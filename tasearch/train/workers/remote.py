"""A worker as the process knows it that has started it."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tasearch.chains.mode import Mode
from tasearch.runs.events import hop_event
from tasearch.train.tasks import Task
from tasearch.train.workers.processes import Process

ANSWERS = ("Ready", "SetUp", "At", "Alive", "Modes", "Done", "error", "bug")  # besides events
START_S = 600.0  # for a worker to import what it needs, on the slowest disk


class RemoteWorker:
    """A process, and what it is at.

    Args:
        process: of the worker.
        device: that it trains on.
        lines: where each of its lines goes, with the worker, and None once it is dead.
    """

    def __init__(
        self,
        process: Process,
        device: str,
        lines: queue.Queue[tuple[RemoteWorker, str | None]],
    ) -> None:
        self.process, self.device = process, device
        self.tasks: list[Task] = []  # that it has not ended
        self.asked = False  # for modes, or to call a function
        self.at = ""  # the last step of that function, in words
        self.widths: dict[int, Mode] = {}  # to find modes for; these are taken if it dies
        self.ready = False  # it has imported all
        self._apart = True  # whether its tasks are trained one by one
        self._owed = 1  # answers to its start and to what it was set up with
        self.silence = 0.0  # seconds without a word where there should be some
        process.listen(lambda line: self._put(lines, line))

    @property
    def set_up_done(self) -> bool:
        """Whether it has come so far that a death is not one of starting."""
        return not self._owed

    @property
    def together(self) -> bool:
        """Whether several hops are in training, any of which may be what it dies of."""
        return not self._apart and len(self.tasks) > 1

    def ask(self, question: Mapping[str, Any]) -> None:
        self.asked, self.at, self.silence = True, "", 0.0
        self.process.say(question)

    def give(self, tasks: Sequence[Task], *, apart: bool = False) -> None:
        self.tasks, self._apart, self.silence = [*tasks], apart, 0.0
        for part in [[task] for task in tasks] if apart else [tasks]:
            self.process.say({"tasks": [asdict(task) for task in part]})

    def set_up(self, setup: Mapping[str, Any]) -> None:
        self._owed += 1
        self.process.say({**setup, "device": self.device})

    def hear(self, line: str) -> tuple[str, Any]:
        """The kind and the content of a line.

        Raises:
            ValueError, TypeError, KeyError: where it is none of a worker's.
        """
        kind, content = json.loads(line)
        if kind in ("Ready", "SetUp"):
            self._owed -= 1
            self.ready = True
        elif kind not in ANSWERS:
            hop_event(kind, content)
        return kind, content

    def wait(self, seconds: float) -> None:
        """This process has listened so long, and heard nothing of this worker."""
        if self.tasks or self.asked or self._owed:
            self.silence += seconds

    def stuck(self, limit: float) -> float | None:
        """The seconds that it made no progress for, where that is too long.

        Args:
            limit: In seconds, once it has imported all; before, `START_S` at least.
        """
        limit = limit if self.ready else max(limit, START_S)
        return limit if self.silence > limit else None

    def _put(self, lines: queue.Queue[tuple[RemoteWorker, str | None]], line: str | None) -> None:
        self.silence = 0.0
        lines.put((self, line))
