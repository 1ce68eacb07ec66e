"""The head of a Ray cluster, without which a search cannot go on for long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable

from tasearch.errors import NOTHING_LOST, RunError
from tasearch.train.workers.ray_connection import ask

LOOKS_S = 2.0  # seconds between two looks at the head
LOST_S = 30.0  # seconds without an answer until the search ends


def gone(why: str) -> str:
    """The message of a search whose cluster is gone."""
    return f"the Ray cluster is gone: {why}; {NOTHING_LOST}"


class Head:
    """The head of a cluster, at which a thread looks from time to time.

    Ray itself waits for a head that is lost: workers that have a node go on, others never get one.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._address, self._closed = address, threading.Event()
        self._tell: dict[Hashable, Callable[[str], None]] = {}
        threading.Thread(target=self._look, daemon=True).start()

    @property
    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            ask(self._address)
        except OSError:
            return False
        return True

    def watch(self, worker: Hashable, tell: Callable[[str], None]) -> None:
        """Tell a worker's listener of an error once the head is lost.

        Args:
            worker: The worker.
            tell: Called with the line of the error.
        """
        self._tell[worker] = tell

    def forget(self, worker: Hashable) -> None:
        """Tell a worker's listener nothing any more."""
        self._tell.pop(worker, None)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _look(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(LOOKS_S):
            if self.answers:
                last = time.monotonic()
            elif time.monotonic() - last > LOST_S:
                why = f"its head, {self._address}, has not answered for {LOST_S:g} seconds"
                error = {"kind": RunError.__name__, "message": gone(why)}
                for tell in [*self._tell.values()]:
                    tell(json.dumps(["error", error]))
                return
