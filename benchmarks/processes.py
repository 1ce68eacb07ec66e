"""Processes: found in Linux's /proc, killed, and their memory."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from pathlib import Path


def kill(pid: int) -> bool:
    """Send SIGKILL to a process.

    Returns:
        Whether the process still existed.
    """
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """Ids of the processes that a process started, and of those that they started."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it may end while it is looked at
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def exit_code(process: subprocess.Popen[bytes], limit: float) -> int:
    """The exit code of a process once it ends.

    Args:
        process: The process to wait for.
        limit: Seconds after which it is killed, with all that it started; its code is then -9.
    """
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        for pid in [*descendants(process.pid), process.pid]:
            kill(pid)
        return process.wait()


def peak_mib() -> dict[str, float]:
    """Peak resident memory of this process, and of the largest of its children that ended."""
    kinds = {"process": resource.RUSAGE_SELF, "largest_child": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(kind).ru_maxrss / 1024 for name, kind in kinds.items()}


def wait_for_others(folder: Path, count: int, limit: float = 300.0) -> None:
    """Wait until several processes have called this.

    Args:
        folder: Empty folder, the same for all of them.
        count: Number of processes.
        limit: Seconds after which waiting is given up.

    Raises:
        TimeoutError: The others did not come in time.
    """
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + limit
    while len([*folder.iterdir()]) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{count} processes should begin together, not all did in {limit} s")
        time.sleep(0.01)
