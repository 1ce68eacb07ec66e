"""Data reach another machine whole and checked, and are written once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasearch.config.places import Url
from tasearch.errors import StoreError
from tasearch.runs.remote import data_file
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.data_file import deliver, fetch
from tests.helpers.object_stores import FailingStore, Killed, objects


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several parts."""
    monkeypatch.setattr(data_file, "PART_BYTES", 100)
    file = tmp_path / "data.arrays"
    file.write_bytes(os.urandom(350))
    return file


def test_data_come_to_another_machine(url: Url, file: Path, tmp_path: Path) -> None:
    bucket = Bucket(url)
    name = deliver(bucket, file)
    found = fetch(bucket, name, tmp_path / "there")
    assert found.read_bytes() == file.read_bytes()
    assert sorted(map(len, objects(url).values()))[:4] == [50, 100, 100, 100]


def test_data_are_written_and_fetched_once(failing: Url, file: Path, tmp_path: Path) -> None:
    bucket = Bucket(failing)
    name, writes = deliver(bucket, file), FailingStore.writes
    assert deliver(bucket, file) == name
    assert FailingStore.writes == writes
    found = fetch(bucket, name, tmp_path / "there")
    FailingStore.fail(ConnectionResetError("gone"))
    assert fetch(bucket, name, tmp_path / "there") == found


def test_other_data_replace_those_on_a_machine(url: Url, file: Path, tmp_path: Path) -> None:
    bucket, there = Bucket(url), tmp_path / "there"
    fetch(bucket, deliver(bucket, file), there)
    file.write_bytes(b"other data")
    found = fetch(bucket, deliver(bucket, file), there)
    assert found.read_bytes() == b"other data"
    assert [*there.glob("*.arrays")] == [found]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("write", [1, 3, 5])
def test_data_that_were_cut_off_are_written_again(
    failing: Url, file: Path, tmp_path: Path, write: int, half: bool
) -> None:
    """Three parts of 100 bytes, one of 50, and their list."""
    bucket = Bucket(failing)
    FailingStore.fatal, FailingStore.half = write, half
    with pytest.raises(Killed):
        deliver(bucket, file)
    FailingStore.heal()
    name = deliver(bucket, file)
    assert fetch(bucket, name, tmp_path / "there").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("damaged", [b"", b"other bytes"])
def test_damaged_data_are_named_and_not_taken(
    url: Url, file: Path, tmp_path: Path, damaged: bytes
) -> None:
    bucket = Bucket(url)
    name = deliver(bucket, file)
    for other in objects(url):
        before = bucket.read(other)
        assert before is not None
        bucket.write(other, damaged)
        with pytest.raises(StoreError, match=f"^{url / other}: is missing, or damaged; remove"):
            fetch(bucket, name, tmp_path / "there")
        assert not [*(tmp_path / "there").glob("*.arrays")]
        bucket.write(other, before)
