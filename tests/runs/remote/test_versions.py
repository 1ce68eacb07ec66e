"""A version is there as a whole or not at all, and no later lease's is touched."""

from __future__ import annotations

import pytest

from tasearch.config.places import Url
from tasearch.errors import StoreError
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.versions import COMMIT, DATA, RULE, Versions
from tests.helpers.object_stores import FailingStore, Killed, objects


def test_newest_version_counts(bucket: Bucket, url: Url) -> None:
    file = Versions(bucket, "hops/a")
    assert file.newest() is None
    first, second = file.add(1, b"first"), file.add(1, b"second")
    assert (first.number, second.number) == (0, 1)
    assert file.newest() == second
    assert file.read(second) == b"second"
    assert file.read(first) is None
    assert set(objects(url)) == {f"hops/a/{second.name}{kind}" for kind in (COMMIT, DATA)}


def test_replaced_versions_stay_for_readers(bucket: Bucket) -> None:
    file = Versions(bucket, "head")
    found = [file.add(1, f"{i}".encode(), keep=2) for i in range(5)]
    assert [file.read(version) for version in found] == [None, None, b"2", b"3", b"4"]


def test_later_lease_wins(bucket: Bucket, url: Url) -> None:
    file = Versions(bucket, "head")
    file.add(3, b"of the third")
    later = file.add(4, b"of the fourth")
    before = objects(url)
    file.add(3, b"of the third, asleep until now")
    file.drop(3)
    assert objects(url) == before
    assert file.newest() == later


@pytest.mark.parametrize("half", [False, True], ids=["missing", "half-written"])
@pytest.mark.parametrize("write", [1, 2], ids=["content", "commit record"])
def test_death_before_the_commit_leaves_the_version_before(
    failing: Url, write: int, half: bool
) -> None:
    file = Versions(Bucket(failing), "hops/a")
    before = file.add(1, b"before")
    FailingStore.fatal, FailingStore.half = FailingStore.writes + write, half
    with pytest.raises(Killed):
        file.add(1, b"after the first")
    FailingStore.heal()
    newest = file.newest()
    assert newest is not None
    if write == 2 and half:  # its name is there, and says all
        assert file.read(newest) == b"after the first"
    else:
        assert newest == before
        assert file.read(newest) == b"before"
    after = file.add(2, b"after the death")
    assert file.newest() == after
    assert len(objects(failing)) == 2


def test_damaged_content_is_named(failing: Url) -> None:
    bucket = Bucket(failing)
    file = Versions(bucket, "hops/a")
    version = file.add(1, b"content")
    name = f"hops/a/{version.name}{DATA}"
    for damaged in (b"contenT", b"conten", b""):
        bucket.write(name, damaged)
        with pytest.raises(StoreError) as error:
            file.read(version)
        assert str(error.value) == f"{failing / name}: is damaged: it should have {RULE}"
    again = file.add(1, b"content")
    assert file.newest() == again
    assert file.read(again) == b"content"
