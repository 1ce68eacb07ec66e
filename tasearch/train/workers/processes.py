"""Processes of workers, which import for seconds: this module needs no torch, to start them first.

What they are for is told them later; see `tasearch.train.workers.worker`.
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

WORKER = "tasearch.train.workers.worker"
BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
BEGIN += "from tasearch.train.workers.processes import become_worker; "
BEGIN += f"become_worker({WORKER!r}, sys.argv[2])"
CUT_OFF = 121  # a worker ends with it that cannot tell anything any more
OWN_FAULTS = ("SEGV", "ABRT", "BUS", "FPE", "ILL", "SYS", "TRAP", "PIPE", "ALRM")  # signals
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
PATIENCE = 5.0  # seconds for the system to bring what a dead worker has said

_living: set[Process] = set()


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a worker has died.

    Args:
        words: that go after "a worker".
        own: whether it was by what it did; a signal that others send is the machine's affair.
        final: whether another try would take too long.
    """

    words: str
    own: bool = True
    final: bool = False

    @classmethod
    def from_exit_code(cls, code: int) -> Death:
        """From a process's return code, negative where a signal has ended it."""
        if code == CUT_OFF:
            return cls(words="closed the files by which it was heard")
        if code >= 0:
            return cls(words=f"ended with code {code}")
        number = -code
        name = (signal.strsignal(number) or "unknown").lower()
        own = number in {getattr(signal, f"SIG{known}", None) for known in OWN_FAULTS}
        return cls(words=f"was killed by signal {number} ({name})", own=own)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a new process has from this one, as it was before a user's code could change it.

    Args:
        folder: the working directory; None where it is gone.
        path: where modules are looked for.
        environment: variables.
    """

    folder: str | None
    path: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def capture(cls) -> Surroundings:
        try:
            folder: str | None = os.getcwd()  # noqa: PTH109
        except OSError:
            folder = None
        path = tuple(str(Path(folder or "", entry)) for entry in sys.path)
        return cls(folder=folder, path=path, environment={**os.environ})


class Process:
    """One worker process, spoken to in lines of JSON; it ends with this process, whatever it does.

    Args:
        threads: of its operations on CPU.
        around: where it begins; as this process is now if not given.
    """

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
            start_new_session=True,  # Ctrl-C is the driver's affair
        )
        self._process: subprocess.Popen[str] = starting.result()
        _living.add(self)

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line; where the process has died, its listener is told."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()

    def listen(self, tell: Callable[[str | None], None]) -> None:
        """Have a thread call `tell` with each line, and with None once the process is dead."""
        threading.Thread(target=self._listen, args=(tell,), daemon=True).start()

    def death(self) -> Death:
        """How it has died, which is waited for."""
        return Death.from_exit_code(self._process.wait())

    def end(self) -> None:
        """Kill it, and what it has started: whatever it writes it writes at once."""
        _living.discard(self)
        self._kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _listen(self, tell: Callable[[str | None], None]) -> None:
        """Lines end with the process, and not with a file that it closes or hands on."""

        def read() -> None:
            assert self._process.stdout is not None
            with self._process.stdout as lines:
                for line in lines:
                    tell(line)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        reading.join(PATIENCE)
        tell(None)

    def _kill(self) -> None:
        if self._process.returncode is None:  # else its number may be another's by now
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)


def end_all() -> None:
    """Kill all workers without waiting, for a process that ends at once."""
    for process in [*_living]:
        process._kill()


def become_worker(module: str, parent: str) -> None:
    """Run a worker's module in a process that ends when its parent does, even where a call in C
    keeps all threads of Python from running.

    Args:
        module: to run.
        parent: number of that process.
    """
    with contextlib.suppress(Exception):  # not on this system; the end of the input is told, too
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != int(parent):
        return
    del sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@cache
def _starter(process: int) -> ThreadPoolExecutor:
    """A thread that stays: to the system, the parent of a process is the thread that started it."""
    return ThreadPoolExecutor(1, "workers start")


def early_processes(
    workers: str, device: str, threads: int, most: int, *, least: int = 0
) -> list[Process]:
    """Processes of workers that a search will have, as far as can be told without torch.

    Args:
        workers: as for `tasearch.train.workers.engine.worker_devices`.
        device: "auto", "cpu" or "cuda".
        threads: of each worker on CPU.
        most: that are of use.
        least: that are needed in any case: 1 where there is code of the user's.

    Returns:
        As many as have room beside this process; `least` where one worker will do.

    Raises:
        RunError: where `workers` is wrong.
    """
    count = min(most, worker_count(workers, _gpus() if device != "cpu" else 0, threads))
    count = min(count, room_beside(threads)) if count > 1 else least
    return [Process(threads) for _ in range(count)]


def worker_count(workers: str, gpus: int, threads: int) -> int:
    """How many workers train.

    Args:
        workers: a number, or "auto": one for each GPU, or as many as the cores have room for.
        gpus: that may be used.
        threads: of each worker on CPU.

    Raises:
        RunError: where it is neither.
    """
    if workers == "auto":
        return gpus or room_for(threads)
    return int(check_workers(workers))


def room_for(threads: int) -> int:
    """How many workers of so many threads this process's cores have room for, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // threads)


def room_beside(threads: int) -> int:
    """The same beside one core that this process keeps busy."""
    return max(1, (len(os.sched_getaffinity(0)) - 1) // threads)


def with_large_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a new process's memory comes in large pages, where glibc can ask the
    system for them: fewer of them are to be looked up in a pass over activations."""
    name, tunable = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    others = environment.get(name)
    return {**environment, name: f"{others}:{tunable}" if others else tunable}


def _gpus(folder: Path = Path("/dev")) -> int:
    """NVIDIA's devices on Linux that CUDA is likely to show; elsewhere none."""
    there = sum(bool(re.fullmatch(r"nvidia\d+", file.name)) for file in folder.glob("nv*"))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if shown is None else min(there, len([s for s in shown.split(",") if s.strip()]))
