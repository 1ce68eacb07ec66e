"""A worker process, wherever it runs, and how it dies."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

CUT_OFF = 121  # exit code of a worker that cannot write its answers any more
OWN_FAULTS = ("SEGV", "ABRT", "BUS", "FPE", "ILL", "SYS", "TRAP", "PIPE", "ALRM")  # signals


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a worker has died.

    Args:
        words: The end of a sentence that begins with "a worker".
        own: Whether the code that it ran is the cause; not so for a signal that was sent to it.
        final: Whether the hop is given up at once, because another try would take too long.
        lost: Whether the machine that it was on is gone.
    """

    words: str
    own: bool = True
    final: bool = False
    lost: bool = False

    @classmethod
    def from_exit_code(cls, code: int) -> Death:
        """From a process's exit code, which is negative where a signal has ended it."""
        if code == CUT_OFF:
            return cls(words="closed the files by which it was heard")
        if code >= 0:
            return cls(words=f"ended with code {code}")
        number = -code
        name = (signal.strsignal(number) or "unknown").lower()
        own = number in {getattr(signal, f"SIG{known}", None) for known in OWN_FAULTS}
        return cls(words=f"was killed by signal {number} ({name})", own=own)


class WorkerProcess(Protocol):
    """A worker process of this machine, or of another one."""

    @property
    def placed(self) -> bool:
        """Whether there is a machine for it; without one, it cannot start yet."""

    def say(self, content: Mapping[str, Any]) -> None:
        """Write a line. If the process has died, its listener is told."""

    def listen(self, tell: Callable[[str | None], None]) -> None:
        """Have a thread call `tell` with each line, and with None once the process is dead."""

    def death(self) -> Death:
        """Wait for the process to end, and say how it died."""

    def end(self) -> None:
        """Kill the process and all that it has started; its files are written atomically."""
