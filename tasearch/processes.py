"""Processes of workers, which import for seconds: this module needs no torch, to start them first.

What they are for is told them later; see `tasearch.train.worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasearch.errors import RunError


class Process:
    """One worker process, spoken to in lines of JSON.

    Args:
        threads: of its operations on CPU.
    """

    def __init__(self, threads: int) -> None:
        count = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasearch.train.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=with_large_pages(
                {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
            ),
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is the driver's affair
        )

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line; where the process has died, its listener is told."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()

    def listen(self, tell: Callable[[str | None], None]) -> None:
        """Have a thread call `tell` with each line, and with None at the end."""
        threading.Thread(target=self._listen, args=(tell,), daemon=True).start()

    def obituary(self) -> str:
        """How it has died, which is waited for."""
        code = self._process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def end(self) -> None:
        """Kill it: whatever it writes it writes at once."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _listen(self, tell: Callable[[str | None], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            tell(line)
        tell(None)


def early_processes(workers: str, device: str, threads: int, most: int) -> list[Process]:
    """Processes of workers that a search will have, as far as can be told without torch.

    Args:
        workers: as for `tasearch.train.engine.worker_devices`.
        device: "auto", "cpu" or "cuda".
        threads: of each worker on CPU.
        most: that are of use.

    Returns:
        As many as have room beside this process; none where one worker will do.

    Raises:
        RunError: where `workers` is wrong.
    """
    count = min(most, worker_count(workers, _gpus() if device != "cpu" else 0, threads))
    return [Process(threads) for _ in range(min(count, room_beside(threads)))] if count > 1 else []


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
    if not workers.isdecimal() or not int(workers):
        raise RunError(f'--workers: should be "auto" or a number from 1, found {workers!r}')
    return int(workers)


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
