"""What fails is repeated, what is refused is not, and both are told in words."""

from __future__ import annotations

import pytest

from tasearch.config.places import Url
from tasearch.errors import NOTHING_LOST, StoreError
from tasearch.runs.remote.bucket import RIGHTS, Bucket
from tests.helpers.object_stores import FailingStore


def test_objects_are_written_read_listed_and_deleted(bucket: Bucket) -> None:
    assert bucket.read("a/b") is None
    assert bucket.names("a") == []
    for name in ("a/c", "a/b", "a/folder/d"):
        bucket.write(name, name.encode())
    assert bucket.read("a/b") == b"a/b"
    assert bucket.names("a") == ["b", "c", "folder"]
    bucket.write("a/b", b"anew")
    assert bucket.read("a/b") == b"anew"
    bucket.delete("a/b", "a/b")
    assert bucket.names("a") == ["c", "folder"]


def test_lost_network_is_waited_for(failing: Url) -> None:
    bucket = Bucket(failing)
    FailingStore.fail(ConnectionResetError("gone"), times=3)
    bucket.write("a", b"content")
    FailingStore.fail(TimeoutError("slow"), times=2)
    assert bucket.read("a") == b"content"


def test_lost_network_ends_with_a_message(failing: Url) -> None:
    FailingStore.fail(ConnectionResetError("gone"))
    with pytest.raises(StoreError) as error:
        Bucket(failing).names("leases")
    words = "cannot be listed: ConnectionResetError: gone"
    assert str(error.value) == f"{failing}/leases: {words}; {NOTHING_LOST}"


def test_refusal_is_told_at_once(failing: Url) -> None:
    FailingStore.fail(PermissionError("Forbidden"), times=1)  # a second try would succeed
    with pytest.raises(StoreError) as error:
        Bucket(failing).read("a")
    words = "cannot be read: it is refused: PermissionError: Forbidden"
    assert str(error.value) == f"{failing}/a: {words}; {RIGHTS}"


def test_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(StoreError, match=r"^nowhere://a/run: cannot be opened: .*nowhere"):
        Bucket(Url("nowhere://a/run"))
