"""The lease of a run at a URL: of all drivers anywhere, one at a time may write.

    leases/<token>-<owner>.json

A driver holds the lease from when its object is the only one with the highest token. It writes the
object anew every few seconds, with a counter. Another driver that sees the counter stand still for
the lease's whole time, by its own clock, takes the next token; clocks are never compared.

Two drivers that take the same token at once both write first and list then, so that at least one
of them sees the other, and withdraws: that is certain where a listing has all that was written
before, as in S3, Google Cloud Storage, Azure and on a disk. Elsewhere each waits `UNCERTAIN_S`
between the two, which makes it likely.

The token fences: all that a driver writes bears it, and what bears a higher one counts. So a
driver that was asleep and has lost its lease changes nothing for its successor.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tasearch.errors import RunError, StoreError
from tasearch.runs.remote.bucket import BUCKETS, FOLDERS, Bucket
from tasearch.runs.remote.versions import Versions

SECONDS = "TASEARCH_LEASE_SECONDS"  # environment variable, for stores that are slow or quick
LASTS_S = 60.0  # seconds without a sign of life after which a driver counts as dead
BEATS = 6  # signs of life in this time
UNCERTAIN_S = 3.0
CERTAIN = (*BUCKETS, *FOLDERS, "memory")  # protocols whose listings have all that was written
TRIES = 5
JOIN_S = 10.0  # seconds that a sign of life in the making is waited for
LEASES = "leases"


class LeaseLost(RunError):
    """Another driver has taken the run over."""


class Lease:
    """The lease of a run, from when it is taken until it is released or lost.

    Args:
        bucket: The objects of the run.
        head: The versions of the run's files, whose tokens count too.
        mirror: A name of the copy of the run on this machine, whose lock this process holds: a
            holder with the same copy is dead.
        tell: Called with a line before the end of another holder's time is waited for.

    Raises:
        RunError: Another driver holds the run.
        StoreError: The store is out of reach.

    Attributes:
        token: The number by which later holders are told from earlier ones.
    """

    def __init__(
        self,
        bucket: Bucket,
        head: Versions,
        mirror: str,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._bucket, self._head, self._mirror, self._tell = bucket, head, mirror, tell
        self._owner, self._beat, self._lost = secrets.token_hex(8), 0, ""
        self._seconds = lease_seconds()
        self.token = self._taken()
        self._over = threading.Event()
        self._life = threading.Thread(target=self._live, name="lease", daemon=True)
        self._life.start()

    def check(self) -> None:
        """Check that the lease has not been lost, as far as this process has heard.

        Raises:
            LeaseLost: It has.
        """
        if self._lost:
            raise LeaseLost(self._lost)

    def confirm(self) -> None:
        """Ask the store whether the lease has been lost.

        Raises:
            LeaseLost: It has.
            StoreError: The store is out of reach.
        """
        self.check()
        # one with the same token has come second, and withdraws
        later = [name for name in self._bucket.names(LEASES) if _token(name) > self.token]
        newest = self._head.newest()
        if later or (newest is not None and newest.token > self.token):
            found = _read(self._bucket, later[-1]) if later else {}
            self._lost = (
                f"{self._bucket.url}: {_who(found)} has taken the run over, because this one gave "
                f"no sign of life for {self._seconds:g} s; nothing was written over, and what this "
                f"one has finished since may be trained again there"
            )
            raise LeaseLost(self._lost)

    def release(self) -> None:
        """Give the lease back, so that the next driver need not wait."""
        self._over.set()
        if self._life is not threading.current_thread():  # which may collect a forgotten search
            self._life.join(JOIN_S)
        with contextlib.suppress(StoreError):  # then it ends by itself
            self._bucket.delete(f"{LEASES}/{self._name}")

    @property
    def _name(self) -> str:
        return f"{self.token:08}-{self._owner}.json"

    def _taken(self) -> int:
        """Take the next token."""
        for _ in range(TRIES):
            newest = self._head.newest()  # before the leases: whoever commits has one
            names = self._wait_for_death()
            tokens = [*map(_token, names), newest.token if newest else 0]
            self.token = max(tokens) + 1
            self._write()
            if self._bucket.url.protocol not in CERTAIN:
                time.sleep(UNCERTAIN_S)
            found = self._bucket.names(LEASES)
            if {*found} - {*names} == {self._name}:
                self._bucket.delete(*(f"{LEASES}/{name}" for name in found if name in names))
                return self.token
            self._bucket.delete(f"{LEASES}/{self._name}")
            time.sleep(random.uniform(0.0, 1.0))
        raise RunError(f"{self._bucket.url}: another tasearch is running or confirming it")

    def _wait_for_death(self) -> list[str]:
        """Wait until each holder is seen to be dead; return the names of their leases.

        Raises:
            RunError: One is alive.
        """
        names = self._bucket.names(LEASES)
        first = {name: _read(self._bucket, name) for name in names}
        since = time.monotonic()
        waits = [n for n in names if first[n].get("mirror") != self._mirror]
        for name in waits:
            self._tell(
                f"waiting for up to {_lasts(first[name]):g} s, until {_who(first[name])} gives a "
                f"sign of life or counts as dead: it has not given the run back"
            )
        while waits:
            time.sleep(min(1.0, self._seconds / BEATS / 2))
            waited = time.monotonic() - since
            there = set(self._bucket.names(LEASES))
            for name in [*waits]:
                found = _read(self._bucket, name)
                if name in there and found.get("beat") != first[name].get("beat"):
                    raise RunError(f"{self._bucket.url}: {_who(found)} is running or confirming it")
                if name not in there or waited > _lasts(first[name]):
                    waits.remove(name)
        return names

    def _live(self) -> None:
        """Give signs of life, until the lease is released or lost."""
        while not self._over.wait(self._seconds / BEATS):
            with contextlib.suppress(StoreError):  # the next one may come through
                try:
                    self.confirm()
                except LeaseLost:
                    return
                self._beat += 1
                self._write()

    def _write(self) -> None:
        content = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "mirror": self._mirror,
            "seconds": self._seconds,
            "beat": self._beat,
            "time": round(time.time(), 3),  # for people, and for `alive`
        }
        self._bucket.write(f"{LEASES}/{self._name}", json.dumps(content, indent=1).encode())


def lease_seconds() -> float:
    """The seconds for which a lease lasts without a sign of life.

    Raises:
        RunError: The environment variable holds no such number.
    """
    text = os.environ.get(SECONDS, "")
    try:
        found = float(text) if text else LASTS_S
    except ValueError:
        found = 0.0
    if not 1.0 <= found <= 86_400.0:
        raise RunError(f"{SECONDS}: should be a number of seconds from 1 to 86,400, found {text!r}")
    return found


def alive(bucket: Bucket) -> bool:
    """Whether a driver seems to hold the lease, by the clocks of its machine and of this one."""
    for name in bucket.names(LEASES):
        found = _read(bucket, name)
        if abs(time.time() - found.get("time", 0.0)) <= found.get("seconds", LASTS_S):
            return True
    return False


def _read(bucket: Bucket, name: str) -> dict[str, Any]:
    """A lease; empty if it is gone, or half-written."""
    try:
        found = json.loads(bucket.read(f"{LEASES}/{name}") or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _lasts(found: dict[str, Any]) -> float:
    """The seconds for which a lease lasts without a sign of life."""
    return float(found.get("seconds", LASTS_S))


def _token(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _who(found: dict[str, Any]) -> str:
    """A holder, for a message."""
    host = found.get("host")
    return (
        f"another tasearch, on {host} (process {found.get('process')}),"
        if host
        else ("another tasearch")
    )
