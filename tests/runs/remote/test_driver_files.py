"""The driver's files are committed together, and come whole to another disk or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasearch.config.places import Url
from tasearch.errors import StoreError
from tasearch.runs.remote import driver_files
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.driver_files import DriverFiles
from tests.helpers.object_stores import FailingStore, Killed, objects

FILES = {
    "run.json": b"{}",
    "journal.log": b"first line\n",
    "events.jsonl": b"",
    "inputs/data.npz": bytes(1000),
    "inputs/hops/__init__.py": b"A = 1\n",  # a package of the user's
    "confirm/verdicts.json": b"[]",
}
APART = {
    "lock": b"",
    "locks/a.lock": b"",
    "hops/a.safetensors": b"a",
    "confirm/hops/a.safetensors": b"a",
    "targets/a-0.safetensors": b"a",
    "shared/data.arrays": b"a",
    "journal.log.lock": b"",
    ".tasearch-0123456789abcdef.tmp": b"a",
    ".tasearch-extension/run.json": b"a",
    "report.html": b"a",
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def here(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def parts(url: Url) -> dict[str, int]:
    """Sizes of the parts that are stored."""
    return {name: len(found) for name, found in objects(url).items() if name.startswith("parts/")}


def test_files_come_to_another_disk(url: Url, tmp_path: Path) -> None:
    DriverFiles(Bucket(url), written(tmp_path / "a", FILES | APART)).commit(1)
    other = DriverFiles(Bucket(url), tmp_path / "b")
    assert other.pull()
    assert here(tmp_path / "b") == FILES


def test_nothing_is_pulled_where_nothing_is_committed(url: Url, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", FILES | APART)
    assert not DriverFiles(Bucket(url), folder).pull()
    assert here(folder) == APART  # what was left is of another run at this URL


def test_pull_takes_back_what_was_not_committed(url: Url, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", FILES)
    DriverFiles(Bucket(url), folder).commit(1)
    more = {"journal.log": b"first line\nsecond line\n", "test_reads.json": b"{}"}
    written(folder, more | {"run.json": b"{...}"})
    (folder / "confirm/verdicts.json").unlink()
    assert DriverFiles(Bucket(url), folder).pull()
    assert here(folder) == FILES


def test_only_new_bytes_of_a_log_are_written(url: Url, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", {"inputs/data.npz": bytes(5000)})
    files, journal = DriverFiles(Bucket(url), folder), folder / "journal.log"
    total = 0
    for number in range(200):
        with journal.open("ab") as stream:
            stream.write(f"line {number:03} of the journal\n".encode())
        files.commit(1)
        found = files._committed["journal.log"]
        assert sum(part.size for part in found) == journal.stat().st_size
        assert len(found) <= 9  # log2 of 200, and one
        total = sum(parts(url).values())
    assert total < 5000 + 9 * journal.stat().st_size
    fresh = DriverFiles(Bucket(url), tmp_path / "b")
    fresh.pull()
    assert (tmp_path / "b/journal.log").read_bytes() == journal.read_bytes()


def test_unchanged_files_are_not_committed_again(url: Url, tmp_path: Path) -> None:
    files = DriverFiles(Bucket(url), written(tmp_path / "a", FILES))
    files.commit(1)
    before = objects(url)
    files.commit(1)
    assert objects(url) == before
    files.commit(1, anew=True)
    assert len(objects(url)) == len(before) + 2
    assert parts(url).keys() == {name for name in before if name.startswith("parts/")}


def test_replaced_log_is_committed_as_it_is(url: Url, tmp_path: Path) -> None:
    """The study has grown: the journal is another one, which begins otherwise."""
    folder = written(tmp_path / "a", FILES)
    files = DriverFiles(Bucket(url), folder)
    files.commit(1)
    for content in (b"another line\nand one more\n", b"short", b""):
        (folder / "journal.log").write_bytes(content)
        files.commit(1)
        DriverFiles(Bucket(url), tmp_path / "b").pull()
        assert (tmp_path / "b/journal.log").read_bytes() == content


def test_large_files_are_written_in_parts(
    url: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_files, "PART_BYTES", 64)
    content = os.urandom(1000)
    folder = written(tmp_path / "a", {"inputs/data.npz": content})
    files = DriverFiles(Bucket(url), folder)
    files.commit(1)
    assert sorted(parts(url).values()) == [40] + [64] * 15
    with (folder / "inputs/data.npz").open("ab") as stream:
        stream.write(b"0123456789" * 10)
    files.commit(1)
    DriverFiles(Bucket(url), tmp_path / "b").pull()
    assert (tmp_path / "b/inputs/data.npz").read_bytes() == content + b"0123456789" * 10


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_death_in_a_commit_leaves_the_one_before(
    failing: Url, tmp_path: Path, write: int, half: bool
) -> None:
    """The writes are a part of the journal, the list of the files, and the commit record."""
    folder = written(tmp_path / "a", FILES)
    files = DriverFiles(Bucket(failing), folder)
    files.commit(1)
    with (folder / "journal.log").open("ab") as stream:
        stream.write(b"second line, which is longer\n")
    FailingStore.fatal, FailingStore.half = FailingStore.writes + write, half
    with pytest.raises(Killed):
        files.commit(1)
    FailingStore.heal()
    DriverFiles(Bucket(failing), tmp_path / "b").pull()
    done = write == 3 and half  # the name of the commit record is there, and only it counts
    journal = b"first line\n" + b"second line, which is longer\n" * done
    assert here(tmp_path / "b") == FILES | {"journal.log": journal}


@pytest.mark.parametrize("damaged", [b"first linE\n", b"first", None])
def test_damaged_part_is_named_and_not_taken(
    url: Url, tmp_path: Path, damaged: bytes | None
) -> None:
    bucket = Bucket(url)
    DriverFiles(bucket, written(tmp_path / "a", {"journal.log": b"first line\n"})).commit(1)
    (name,) = parts(url)
    if damaged is None:
        bucket.delete(name)
    else:
        bucket.write(name, damaged)
    fault = "is missing" if damaged is None else "does not match its checksum"
    with pytest.raises(StoreError, match=f"^{url / name}: {fault}; a commit of the run names it"):
        DriverFiles(bucket, tmp_path / "b").pull()
    assert here(tmp_path / "b") == {}
    DriverFiles(bucket, tmp_path / "a").pull()  # which has the part already
