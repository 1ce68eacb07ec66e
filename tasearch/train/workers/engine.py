"""Engines train hops: in this process one after another, or in a `Pool` of workers.

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
    """Trains hops."""

    @property
    def free_workers(self) -> int:
        """The number of groups of tasks that could start now."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Begin one task, or several that train together; `free_workers` must be above 0."""

    def events(self) -> Iterator[HopEvent]:
        """Wait for the next events; the last event of a task is `HopEnded`.

        Raises:
            TasearchError: The engine or the disk fails.
        """

    def close(self) -> None:
        """Stop at once; no finished rung is lost."""


class InProcessEngine:
    """Trains in this process, one group of tasks at a time; on CPU with one thread only.

    Further threads flush denormal numbers only if they were started so, as a worker's are; without
    that a training can take ten times as long.

    Args:
        trainer: The run's trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._steps: Iterator[HopEvent] | None = None
        self._left = 0  # tasks

    @property
    def free_workers(self) -> int:
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
        workers: A number, or "auto": one for each GPU, or as many as the cores have room for.
        device: "cuda" or "cpu".
        threads: Number of threads of each worker on CPU.

    Raises:
        RunError: `workers` is neither a number nor "auto".
    """
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    number = worker_count(workers, count, threads)
    return [f"cuda:{i % count}" if count else device.type for i in range(number)]
