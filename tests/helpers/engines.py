"""Engines for the tests of what every engine must do, and a family of models that fails in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.ray_nodes import Nodes
from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import load_data
from tasearch.pareto.skyline import Thresholds
from tasearch.runs.events import HopEnded, HopEvent
from tasearch.runs.store import Store
from tasearch.train.tasks import Task
from tasearch.train.trainer import Trainer
from tasearch.train.workers.engine import Engine, InProcessEngine
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.ray_cluster import RayCluster, Resources
from tasearch.train.workers.worker_process import WorkerProcess
from tests.helpers.packages import skip_without_ray
from tests.helpers.training import trainer

WORKERS = 2
OWN = """
import os
import time
from pathlib import Path

import torch
from torch import nn

HELD = Path(__file__).parent / "held"  # the id of the process that waits to be killed


class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.width, self.steps = width, 0
        self.one, self.two = nn.Linear(64, width), nn.Linear(width, classes)

    def forward(self, x):
        if self.training and len(x) > 2:
            self.steps += 1
            step(self.width, self.steps)
        return self.two(torch.relu(self.one(x.flatten(1))))


def step(width, steps):
    if width == 4:
        raise ValueError("broken on purpose")
    if width == 6:
        raise torch.OutOfMemoryError("CUDA out of memory")
    if width == 2:
        os._exit(3)
    if width == 8 and steps == 50 and not HELD.exists():  # after a rung
        HELD.with_suffix(".new").write_text(str(os.getpid()))
        HELD.with_suffix(".new").rename(HELD)
        time.sleep(600)


def build(width, *, in_shape, num_classes):
    return Net(width, num_classes)
"""


@dataclass
class Engines:
    """Makes engines of one kind, which train hops into the folder of a store.

    Args:
        workers: Number of hops that an engine trains at the same time.
        own_process: Whether hops are trained in other processes than this one.
        start: Starts a worker elsewhere; None for this machine.
    """

    workers: int
    own_process: bool
    start: Callable[[], WorkerProcess] | None = None
    _shared: Pool | None = field(default=None, init=False)

    def engine(self, study: Study, folder: Path, mode: str = "fp32") -> Engine:
        """An engine for one test, whose workers other tests use after it.

        Args:
            study: The study.
            folder: Folder of the store.
            mode: Mode of training of all widths.
        """
        if not self.own_process:
            return InProcessEngine(trainer(folder, study, mode=mode))
        if self._shared is None:
            self._shared = self._pool(study, folder)
        return self._set_up(self._shared, study, folder, mode)

    def fresh_engine(self, study: Study, folder: Path) -> Engine:
        """An engine of its own, which the test closes."""
        if not self.own_process:
            return InProcessEngine(trainer(folder, study))
        return self._set_up(self._pool(study, folder), study, folder, "fp32")

    def close(self) -> None:
        """End the workers that tests share."""
        if self._shared is not None:
            self._shared.close()

    def _pool(self, study: Study, folder: Path) -> Pool:
        shared = None if self.start is None else folder.parent / "shared"
        return Pool(["cpu"] * self.workers, study, elsewhere=self.start, folder=shared)

    def _set_up(self, pool: Pool, study: Study, folder: Path, mode: str) -> Pool:
        modes = dict.fromkeys(study.widths, Mode.parse(mode))
        folder.mkdir(exist_ok=True)
        separable = trainer(folder, study, mode=mode).separable
        code = UserCode(digests={})
        pool.set_up(study, load_data(study), Store(folder), modes, separable, code)
        return pool


@contextlib.contextmanager
def engines(kind: str, folder: Path) -> Iterator[Engines]:
    """The engines of a kind: "in process", "pool" or "ray"."""
    with contextlib.ExitStack() as stack:
        start = None
        if kind == "ray":
            skip_without_ray()
            start = stack.enter_context(_cluster(folder)).start
        own = kind != "in process"
        made = Engines(workers=WORKERS if own else 1, own_process=own, start=start)
        stack.callback(made.close)
        yield made


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[RayCluster]:
    """A cluster of a node for each worker, to which this process is connected."""
    try:
        nodes = Nodes(folder, WORKERS)
    except RuntimeError as error:
        pytest.skip(str(error))
    with contextlib.closing(nodes), pytest.MonkeyPatch.context() as patch:
        for name, value in nodes.environment.items():
            patch.setenv(name, value)
        resources = Resources(cpus=0.5, gpus=0, memory=0)  # room for two engines
        with contextlib.closing(RayCluster(nodes.address, resources, 1)) as cluster:
            yield cluster


def tasks(own: Trainer, found: Iterable[Hop], thresholds: Thresholds = ()) -> list[Task]:
    """The tasks to train hops, whose keys are a trainer's."""
    return [Task(key=own.key(hop), hop=hop, thresholds=thresholds) for hop in found]


def events(engine: Engine, found: Sequence[Task], *, together: bool = False) -> Iterator[HopEvent]:
    """The events until every task has ended, as they come.

    Args:
        engine: The engine.
        found: Tasks whose ancestors are stored.
        together: Whether they are one group.
    """
    groups, left = [[*found]] if together else [[task] for task in found], len(found)
    while left:
        while groups and engine.free_workers:
            engine.submit(groups.pop(0))
        for event in engine.events():
            left -= isinstance(event, HopEnded)
            yield event
