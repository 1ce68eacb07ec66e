"""A Ray cluster (https://docs.ray.io), on whose nodes worker processes run.

Each worker process has an actor, which takes the resources of one training on a node, starts the
process there and passes its lines on. Ray finds the nodes, and tells when one is lost. Hops and
data are in the folder of the run, which all nodes see, and never in Ray.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasearch.config.study import Study
from tasearch.errors import RunError, first_line
from tasearch.train.workers.processes import Process, Surroundings
from tasearch.train.workers.ray_connection import connect, import_ray
from tasearch.train.workers.ray_head import Head, gone
from tasearch.train.workers.worker_process import Death

if TYPE_CHECKING:
    from types import ModuleType

GROUPS = ("say", "hear")  # calls of an actor that keep their order, and wait for no other
PATIENCE = 30.0  # seconds until it is told that no node has room
LOOKS_S = 0.5  # seconds until a listener looks whether it is still needed
WAITS = "no node of the cluster has room for a training yet; the search waits for one"
GIGABYTE = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one training takes of a node.

    Args:
        cpus: Cores.
        gpus: GPUs.
        memory: Bytes of memory; 0 if Ray does not count them.
    """

    cpus: float
    gpus: float
    memory: float

    @classmethod
    def of(cls, study: Study, device: str) -> Resources:
        """Those that a study names, and its threads and one GPU where it names none.

        Args:
            study: The study.
            device: "cuda" or "cpu".
        """
        named = study.resources
        default = float(device == "cuda")
        return cls(
            cpus=study.training.threads if named.cpus is None else named.cpus,
            gpus=default if named.gpus is None else named.gpus,
            memory=named.memory_gb * GIGABYTE,
        )

    @property
    def options(self) -> dict[str, float]:
        """As options of an actor."""
        found = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        return found | ({"memory": self.memory} if self.memory else {})

    def slots(self, node: Mapping[str, float]) -> int:
        """The number of trainings that a node has room for when it does nothing else."""
        wanted = (("CPU", self.cpus), ("GPU", self.gpus), ("memory", self.memory))
        return min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted if amount)

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} cores"]
        parts += [f"{self.gpus:g} GPUs"] if self.gpus else []
        parts += [f"{self.memory / GIGABYTE:g} GB of memory"] if self.memory else []
        return " and ".join(parts)


class RayCluster:
    """A cluster that this process is connected to, until it is closed.

    Args:
        address: "auto" for the cluster that this machine belongs to, or HOST:PORT; None to start
            one on this machine, which ends with the connection.
        resources: What one training takes of a node.
        threads: Number of threads of each worker on CPU.

    Raises:
        RunError: Ray is not installed, there is no such cluster, or no node has these resources.
    """

    def __init__(self, address: str | None, resources: Resources, threads: int) -> None:
        self._ray, self._resources = import_ray(address), resources
        connect(self._ray, address)
        self._head = Head(self._ray.get_runtime_context().gcs_address)
        try:
            self.slots = self._count(address)
        except RunError:
            self.close()
            raise
        path = tuple(str(Path(entry).absolute()) for entry in sys.path)
        self._host = self._ray.remote(concurrency_groups=dict.fromkeys(GROUPS, 1))(_Host)
        self._arguments = threads, path, str(Path.cwd())
        self._first = threading.Event()  # the first worker has a node

    def start(self) -> RayProcess:
        """Start a worker process on a node, as soon as one has room.

        Raises:
            RunError: The cluster is gone.
        """
        options = {**self._resources.options, "max_restarts": 0}
        try:
            actor = self._host.options(**options).remote(*self._arguments)
        except Exception as error:  # Ray has several kinds
            raise RunError(gone(first_line(error))) from None
        return RayProcess(self._ray, actor, self._first, self._head)

    def close(self) -> None:
        """Leave the cluster; its workers end, and so does the cluster if it was started here."""
        self._head.close()
        self._ray.shutdown()

    def _count(self, address: str | None) -> int:
        """The trainings that the nodes have room for, now that nothing else runs on them."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        slots = sum(map(self._resources.slots, nodes))
        if not slots:
            lacks = "this machine lacks" if address is None else "no node of the cluster has"
            raise RunError(f"[resources]: one training takes {self._resources}, which {lacks}")
        return slots


def _lost(error: Exception) -> str:
    """The end of a sentence about a worker whose actor is lost."""
    return f"was lost with its node ({type(error).__name__})"


class RayProcess:
    """A worker process on a node, spoken to through its actor.

    Args:
        ray: The module.
        actor: The actor.
        first: Set once any worker has a node; until then the wait for one is told.
        head: The head of the cluster; if it is lost, the search ends.

    Attributes:
        placed: Whether a node has taken the actor.
    """

    def __init__(self, ray: ModuleType, actor: Any, first: threading.Event, head: Head) -> None:
        self._ray, self._actor, self._first, self._head = ray, actor, first, head
        self._death: Death | None = None
        self._listener: threading.Thread | None = None
        self._over = threading.Event()  # it is to end; the listener uses Ray no more
        self.placed = False

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line; Ray keeps it until the process is there."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # the listener is told
            self._actor.say.options(concurrency_group="say").remote(dict(content))

    def listen(self, tell: Callable[[str | None], None]) -> None:
        """Have a thread call `tell` with each line, and with None once the process is dead."""
        self._head.watch(self, tell)
        self._listener = threading.Thread(target=self._listen, args=(tell,), daemon=True)
        self._listener.start()

    def death(self) -> Death:
        """How the process died, once its listener was told."""
        assert self._death is not None
        return self._death

    def end(self) -> None:
        """Kill the actor, and with it the process and all that it has started.

        Without the head, Ray would wait for it; what is left ends when this process leaves the
        cluster.
        """
        self._head.forget(self)
        self._over.set()
        if self._head.answers:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.kill(self._actor)
        if self._listener is not None:  # Ray ends a process that uses it after its shutdown
            self._listener.join(PATIENCE)

    def _listen(self, tell: Callable[[str | None], None]) -> None:
        try:
            for line in self._lines():
                tell(line)
            self._death = self._get(self._actor.death.remote())
        except self._ray.exceptions.RayError as error:
            self._death = Death(words=_lost(error), own=False, lost=True)
        except BaseException as error:  # Ray itself is gone
            words = f"is out of reach: {first_line(error)}"
            self._death = Death(words=words, own=False, lost=True)
        tell(None)

    def _lines(self) -> Iterator[str]:
        """The lines of the process until it ends."""
        ready, since = self._actor.__ray_ready__.remote(), time.monotonic()
        while not self._ray.wait([ready], timeout=LOOKS_S)[0] and not self._over.is_set():
            if time.monotonic() - since > PATIENCE and not self._first.is_set():
                since = math.inf  # told once
                yield json.dumps(["Notice", {"message": WAITS}])
        self._get(ready)
        self.placed = True
        self._first.set()
        lines = self._actor.lines.options(concurrency_group="hear")
        while True:
            for line in self._get(lines.remote()):
                if line is None:
                    return
                yield line

    def _get(self, reference: Any) -> Any:
        """Wait for a value of the actor, as long as the process is not to end."""
        while not self._ray.wait([reference], timeout=LOOKS_S)[0]:
            if self._over.is_set():
                raise TimeoutError("it is ended")
        return self._ray.get(reference)


class _Host:
    """The actor: a worker process on this node.

    Args:
        threads: Number of threads of the process on CPU.
        path: The folders in which the driver looks for modules, of which some may be here.
        folder: The driver's working directory, which may be here.
    """

    def __init__(self, threads: int, path: tuple[str, ...], folder: str) -> None:
        here = [entry for entry in path if Path(entry).exists()]
        around = Surroundings(
            folder=folder if Path(folder).is_dir() else None,
            path=tuple(dict.fromkeys([*here, *sys.path])),
            environment={**os.environ},  # with the GPUs that Ray has chosen
        )
        self._process = Process(threads, around)
        self._heard: queue.Queue[str | None] = queue.Queue()
        self._process.listen(self._heard.put)

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line to the process."""
        self._process.say(content)

    def lines(self) -> list[str | None]:
        """Wait for lines; None is the end of the process."""
        found = [self._heard.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._heard.get_nowait())
        return found

    def death(self) -> Death:
        """How the process died."""
        return self._process.death()
