"""Worker processes: started, listened to and ended.

A worker imports torch for seconds. This module needs no torch, so a command can start its workers
first and import beside them; they are told later what to train (`tasearch.train.workers.worker`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasearch.config.arguments import check_workers
from tasearch.train.workers.worker_process import Death

WORKER = "tasearch.train.workers.worker"
BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
BEGIN += "from tasearch.train.workers.processes import become_worker; "
BEGIN += f"become_worker({WORKER!r}, sys.argv[2])"
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
PATIENCE = 5.0  # seconds to wait for the last lines of a dead worker

_living: set[Process] = set()


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where new processes start, captured before the user's code could change it.

    Args:
        folder: The working directory; None if it does not exist any more.
        path: The folders in which modules are looked for, absolute.
        environment: The environment variables.
    """

    folder: str | None
    path: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def capture(cls) -> Surroundings:
        """The surroundings of this process as they are now."""
        try:
            folder: str | None = os.getcwd()  # noqa: PTH109
        except OSError:
            folder = None
        path = tuple(str(Path(folder or "", entry)) for entry in sys.path)
        return cls(folder=folder, path=path, environment={**os.environ})


class Process:
    """One worker process on this machine, spoken to in lines of JSON; it ends with this process.

    Args:
        threads: Number of threads of its operations on CPU.
        around: Where it starts; the present surroundings if not given.
    """

    placed = True

    def __init__(self, threads: int, around: Surroundings | None = None) -> None:
        around, count = around or Surroundings.capture(), str(threads)
        begin = [sys.executable, "-P", "-c", BEGIN, json.dumps(around.path), str(os.getpid())]
        starting = _starter(os.getpid()).submit(
            subprocess.Popen,
            begin,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=around.folder,
            env=with_large_pages(
                {**around.environment, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
            ),
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # the driver alone handles Ctrl-C
        )
        self._process: subprocess.Popen[str] = starting.result()
        _living.add(self)

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line. If the process has died, its listener is told."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()

    def listen(self, tell: Callable[[str | None], None]) -> None:
        """Have a thread call `tell` with each line, and with None once the process is dead."""
        threading.Thread(target=self._listen, args=(tell,), daemon=True).start()

    def death(self) -> Death:
        """Wait for the process to end, and say how it died."""
        return Death.from_exit_code(self._process.wait())

    def end(self) -> None:
        """Kill the process and all that it has started; its files are written atomically."""
        _living.discard(self)
        self._kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _listen(self, tell: Callable[[str | None], None]) -> None:
        """Read lines until the process ends, even if a child keeps its output open."""

        def read() -> None:
            assert self._process.stdout is not None
            with self._process.stdout as lines:
                for line in lines:
                    tell(line)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        if hasattr(os, "waitid"):  # keeps the process's number reserved until it was killed
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        self._kill()
        reading.join(PATIENCE)
        tell(None)

    def _kill(self) -> None:
        if self._process.returncode is None:  # else another process may have its number by now
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()


def end_all() -> None:
    """Kill all workers without waiting for their end; for a process that ends at once."""
    for process in [*_living]:
        process._kill()


def become_worker(module: str, parent: str) -> None:
    """Run a worker's module in this process, which ends when its parent ends.

    On Linux the system ends it, even while a call in C keeps all threads of Python from running.
    Elsewhere the worker ends itself at the end of its input.

    Args:
        module: Name of the module to run.
        parent: Process id of the parent, in decimal.
    """
    if sys.platform == "linux":
        with contextlib.suppress(Exception):  # a C library without prctl
            ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != int(parent):
        return
    del sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@cache
def _starter(process: int) -> ThreadPoolExecutor:
    """A thread that stays: for prctl, the parent of a process is the thread that started it."""
    return ThreadPoolExecutor(1, "workers start")


def early_processes(
    workers: str, device: str, threads: int, most: int, *, least: int = 0
) -> list[Process]:
    """Start the processes of the workers that a search will have, before torch is imported.

    Args:
        workers: Number of workers, or "auto"; see `tasearch.train.workers.engine.worker_devices`.
        device: "auto", "cpu" or "cuda".
        threads: Number of threads of each worker on CPU.
        most: Largest number of workers that the search can use.
        least: Number of processes if one worker is enough: 1 if the study names the user's code.

    Returns:
        As many processes as the cores have room for beside this one.

    Raises:
        RunError: `workers` is neither a number nor "auto".
    """
    count = min(most, worker_count(workers, _gpus() if device != "cpu" else 0, threads))
    count = min(count, room_beside(threads)) if count > 1 else least
    return [Process(threads) for _ in range(count)]


def worker_count(workers: str, gpus: int, threads: int) -> int:
    """The number of workers.

    Args:
        workers: A number, or "auto": one for each GPU, else as many as the cores have room for.
        gpus: Number of GPUs that may be used.
        threads: Number of threads of each worker on CPU.

    Raises:
        RunError: `workers` is neither.
    """
    if workers == "auto":
        return gpus or room_for(threads)
    return int(check_workers(workers))


def cpu_count() -> int:
    """The number of cores that this process may use, within the quota of its container."""
    import joblib  # takes a third of a second, which commands that train nothing need not wait

    return int(joblib.cpu_count())


def room_for(threads: int) -> int:
    """The number of workers of so many threads that the cores have room for, at least 1."""
    return max(1, cpu_count() // threads)


def room_beside(threads: int) -> int:
    """The same, beside one core that this process keeps busy."""
    return max(1, (cpu_count() - 1) // threads)


def with_large_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which glibc asks for large pages of memory; other C libraries ignore it.

    A pass over activations then has fewer pages to look up.
    """
    name, tunable = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    others = environment.get(name)
    return {**environment, name: f"{others}:{tunable}" if others else tunable}


def _gpus(folder: Path = Path("/dev")) -> int:
    """The number of NVIDIA GPUs that CUDA is likely to show, known on Linux without torch.

    Elsewhere 0: too many processes may then start early, and those are ended again.
    """
    there = sum(bool(re.fullmatch(r"nvidia\d+", file.name)) for file in folder.glob("nv*"))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if shown is None else min(there, len([s for s in shown.split(",") if s.strip()]))
