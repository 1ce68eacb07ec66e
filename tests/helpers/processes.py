"""Processes and commands that tests start and watch."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def children() -> list[int]:
    """Processes of this one, whichever of its threads has started them."""
    found: list[int] = []
    for file in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += map(int, file.read_text().split())
    return found


TASEARCH = [sys.executable, "-m", "tasearch"]


def call(*arguments: object, cwd: Path | None = None, code: int = 0) -> str:
    """Standard output of a command that ends with `code`; standard error where that is not 0."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [*TASEARCH, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds, for some seconds at most."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the run did not get there"
        time.sleep(0.02)
