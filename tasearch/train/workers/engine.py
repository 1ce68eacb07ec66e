"""Engines: who trains hops. In this process one after another, or in a `Pool` of workers.

An engine gets tasks and yields the events of their hops. No result depends on the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from tasearch.runs.events import HopEnded, HopEvent
from tasearch.train.tasks import Task, train_hops
from tasearch.train.trainer import Trainer
from tasearch.train.workers.processes import worker_count


class Engine(Protocol):
    """Who trains hops."""

    @property
    def free(self) -> int:
        """Groups of tasks that would be taken up at once."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Begin tasks, one or some that go together; somebody must be free."""

    def events(self) -> Iterator[HopEvent]:
        """Wait for the next events; the last event of a task is `HopEnded`.

        Raises:
            TasearchError: where an engine, or the disk, fails.
        """

    def close(self) -> None:
        """End at once; no finished rung is lost."""


class InProcessEngine:
    """In this process, one group of tasks at a time; on CPU with one thread only.

    Several threads flush denormals only where they were started to, as those of a worker are, and
    without that a training can take ten times as long.

    Args:
        trainer: of the run.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._steps: Iterator[HopEvent] | None = None
        self._left = 0  # tasks

    @property
    def free(self) -> int:
        return int(self._steps is None)

    def submit(self, tasks: Sequence[Task]) -> None:
        assert self._steps is None
        self._steps, self._left = train_hops(self._trainer, tasks), len(tasks)

    def events(self) -> Iterator[HopEvent]:
        assert self._steps is not None
        event = next(self._steps)
        self._left -= isinstance(event, HopEnded)
        if not self._left:
            self._steps = None
        yield event

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()  # type: ignore[attr-defined]
            self._steps = None


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
    number = worker_count(workers, count, threads)
    return [f"cuda:{i % count}" if count else device.type for i in range(number)]
