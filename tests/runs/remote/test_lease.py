"""One driver at a time: the second is refused, a dead one replaced, one that was asleep fenced."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tasearch.config.places import Url
from tasearch.errors import RunError
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.lease import LEASES, SECONDS, Lease, LeaseLost, alive, lease_seconds
from tasearch.runs.remote.versions import Versions
from tests.helpers.object_stores import FailingStore, objects


def taken(
    url: Url, mirror: str = "this machine", tell: Callable[[str], None] = lambda line: None
) -> Lease:
    bucket = Bucket(url)
    return Lease(bucket, Versions(bucket, "head"), mirror, tell)


def die(lease: Lease) -> None:
    """End a lease's signs of life, as the end of its process does."""
    lease._over.set()
    lease._life.join()


def test_second_driver_is_refused(url: Url) -> None:
    lease = taken(url)
    assert alive(Bucket(url))
    with pytest.raises(RunError) as error:
        taken(url, "another machine")
    holder = f"another tasearch, on {socket.gethostname()} (process {os.getpid()}),"
    assert str(error.value) == f"{url}: {holder} is running or confirming it"
    lease.confirm()
    lease.release()


def test_released_lease_is_free_at_once(url: Url) -> None:
    taken(url).release()
    assert objects(url) == {}
    assert not alive(Bucket(url))
    since = time.monotonic()
    taken(url, "another machine").release()
    assert time.monotonic() - since < 0.9


def test_dead_driver_is_replaced_after_its_time(url: Url) -> None:
    first = taken(url)
    die(first)
    told = list[tuple[float, str]]()
    since = time.monotonic()
    second = taken(url, "another machine", lambda line: told.append((time.monotonic(), line)))
    assert time.monotonic() - since > 0.9
    ((when, line),) = told
    assert when - since < 0.5
    assert line == (
        f"waiting for up to 1 s, until another tasearch, on {socket.gethostname()} (process "
        f"{os.getpid()}), gives a sign of life or counts as dead: it has not given the run back"
    )
    assert (first.token, second.token) == (1, 2)
    assert Bucket(url).names(LEASES) == [second._name]
    second.release()


def test_dead_driver_of_the_same_copy_is_replaced_at_once(url: Url) -> None:
    die(taken(url))
    since = time.monotonic()
    second = taken(url, tell=pytest.fail)
    assert time.monotonic() - since < 0.9
    second.release()


def test_driver_that_was_asleep_has_lost_its_lease(url: Url) -> None:
    asleep = taken(url)
    die(asleep)
    successor = taken(url, "another machine")
    asleep.check()  # it has not heard of it yet
    with pytest.raises(LeaseLost, match=r"has taken the run over, because this one gave no sign"):
        asleep.confirm()
    with pytest.raises(LeaseLost):
        asleep.check()
    successor.confirm()
    successor.release()


def test_successor_is_known_by_what_it_has_committed(url: Url) -> None:
    bucket = Bucket(url)
    asleep = taken(url)
    die(asleep)
    successor = taken(url, "another machine")
    Versions(bucket, "head").add(successor.token, b"{}")
    successor.release()
    with pytest.raises(LeaseLost, match=f"^{url}: another tasearch has taken the run over"):
        asleep.confirm()
    third = taken(url)
    assert third.token == 3
    third.release()


def test_loss_is_heard_of_without_being_asked(url: Url) -> None:
    lease = taken(url)
    Bucket(url).write(f"{LEASES}/{9:08}-another.json", b"{}")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            lease.check()
        except LeaseLost:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the loss was not heard of")
    lease.release()
    assert Bucket(url).names(LEASES) == [f"{9:08}-another.json"]


@pytest.mark.parametrize("content", [b"", b'{"beat": 1, "sec', b"[]"])
def test_half_written_lease_ends_as_others_do(url: Url, content: bytes) -> None:
    Bucket(url).write(f"{LEASES}/{7:08}-another.json", content)
    patch = pytest.MonkeyPatch()
    patch.setattr("tasearch.runs.remote.lease.LASTS_S", 1.0)
    lease = taken(url)
    patch.undo()
    assert lease.token == 8
    lease.release()


def test_lease_survives_a_lost_network(failing: Url) -> None:
    lease = taken(failing)
    FailingStore.fail(ConnectionResetError("gone"), times=20)
    time.sleep(1.5)  # some signs of life
    FailingStore.heal()
    lease.confirm()
    lease.release()


@pytest.mark.parametrize("round_", range(5))
def test_of_several_drivers_one_at_most_holds_the_lease(url: Url, round_: int) -> None:
    """None releases, so that whoever comes second must be refused, whenever it comes."""
    begin, won = threading.Barrier(4), list[Lease]()

    def take(number: int) -> None:
        begin.wait()
        with contextlib.suppress(RunError):
            won.append(taken(url, f"machine {number}"))

    threads = [threading.Thread(target=take, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) <= 1
    for lease in won:
        lease.confirm()
        lease.release()
    taken(url).release()


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "1e9"])
def test_time_of_a_lease_must_be_sensible(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SECONDS, text)
    with pytest.raises(RunError, match=f"^{SECONDS}: should be a number of seconds"):
        lease_seconds()
