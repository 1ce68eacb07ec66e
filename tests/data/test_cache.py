from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tasearch.data import cache
from tasearch.data.cache import SEAL, cached
from tasearch.errors import DataError

ADVICE = "set TASEARCH_CACHE to a folder of yours with room"
X = np.arange(60, dtype=np.uint8).reshape(5, 12)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Writes an entry, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        np.save(folder / "x_train.npy", X)
        np.save(folder / "x_test.npy", X[:2])


def whole(arrays: dict[str, np.ndarray]) -> bool:
    return (
        sorted(arrays) == ["x_test", "x_train"]
        and np.array_equal(arrays["x_train"], X)
        and np.array_equal(arrays["x_test"], X[:2])
    )


def test_cache_detects_every_flipped_byte_and_makes_entry_again(folder: Path) -> None:
    make = Maker()
    assert whole(cached("key", make))
    assert make.times == 1
    assert whole(cached("key", make))
    assert make.times == 1
    for file in sorted((folder / "key").iterdir()):
        sound = file.read_bytes()
        for place in range(len(sound)):
            for flip in (0x01, 0x20, 0x80):
                damaged = bytearray(sound)
                damaged[place] ^= flip
                file.write_bytes(damaged)
                assert cache._read(folder / "key") is None, (file, place)
        before = make.times
        assert whole(cached("key", make))
        assert make.times == before + 1
    assert [p.name for p in folder.iterdir()] == ["key"]


@pytest.mark.parametrize("name", [SEAL, "x_train.npy"])
def test_cache_replaces_whatever_blocks_an_entry(folder: Path, name: str) -> None:
    make = Maker()
    cached("key", make)
    (folder / "key" / name).unlink()
    assert whole(cached("key", make))
    (folder / "key" / name).unlink()
    (folder / "key" / name).mkdir()
    assert whole(cached("key", make))
    shutil.rmtree(folder / "key")
    (folder / "key").write_bytes(b"a file")
    assert whole(cached("key", make))
    assert make.times == 4
    assert whole(cached("key", make))
    assert make.times == 4


def test_mapped_entry_survives_deletion(folder: Path) -> None:
    arrays = cached("key", Maker())
    shutil.rmtree(folder)
    assert whole(arrays)
    assert whole(cached("key", Maker()))


def test_cache_accepts_entry_that_another_process_finished_first(folder: Path) -> None:
    def make(temporary: Path) -> None:
        Maker()(temporary)
        if not (folder / "key").exists():  # here the other one comes to its end
            cached("key", Maker())

    assert whole(cached("key", make))
    assert [p.name for p in folder.iterdir()] == ["key"]


def test_relative_cache_folder_ignores_changes_of_working_folder(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "from tasearch.data import cache\n"
        "pathlib.Path('elsewhere').mkdir()\n"
        "os.chdir('elsewhere')\n"
        "print(cache.cache_folder())\n"
    )
    for variable, expected in (("TASEARCH_CACHE", "mine"), ("XDG_CACHE_HOME", "mine/tasearch")):
        environment = {k: v for k, v in os.environ.items() if k != "TASEARCH_CACHE"}
        paths = [str(Path(cache.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment |= {variable: "mine", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        where = tmp_path / variable
        where.mkdir()
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=where,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == f"{where / expected}\n"


def test_message_names_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in ("file", "file/below"):
        monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / place))
        with pytest.raises(DataError) as error:
            cached("key", Maker())
        assert str(error.value) == (
            f"{tmp_path / place}: decoded images cannot be written here: Not a directory; {ADVICE}"
        )
    monkeypatch.setenv("TASEARCH_CACHE", "/proc/tasearch")
    with pytest.raises(DataError) as error:
        cached("key", Maker())
    assert str(error.value) == (
        f"/proc/tasearch: decoded images cannot be written here: No such file or directory; "
        f"{ADVICE}"
    )


def test_cache_reports_full_disk_and_leaves_no_file(folder: Path) -> None:
    def large(temporary: Path) -> None:
        np.save(temporary / "x_train.npy", np.zeros(2**20, dtype=np.uint8))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(DataError) as error:
            cached("key", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(error.value).startswith(f"{folder}: decoded images cannot be written here: ")
    assert str(error.value).endswith(f"; {ADVICE}")
    assert not list(folder.iterdir())


def test_message_names_unreadable_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop root, who may run this, so the read itself is refused here."""
    cached("key", Maker())

    def refuse(path: Path, **options: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(DataError) as error:
        cached("key", Maker())
    assert str(error.value) == (
        f"{folder / 'key'}: decoded images cannot be read here: Permission denied; {ADVICE}"
    )


def test_cache_reports_missing_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASEARCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError) as error:
        cached("key", Maker())
    assert str(error.value) == f"the cache cannot be kept: no home folder; {ADVICE}"


def test_cache_removes_remains_of_killed_process(folder: Path) -> None:
    cached("key", Maker())
    left, mine, ours = (folder / f".tasearch-{c * 16}.tmp" for c in "abc")
    for one in (left, ours):
        one.mkdir()
        (one / "x.npy").write_bytes(b"much")
    mine.write_bytes(b"no folder")
    (folder / ".other.tmp").mkdir()
    held = FileLock(ours.with_suffix(".lock"))  # of a process that lives
    with held:
        cached("another", Maker())
        names = {p.name for p in folder.iterdir()} - {"key", "another"}
        assert names == {ours.name, ours.with_suffix(".lock").name, mine.name, ".other.tmp"}
    cached("third", Maker())
    assert not ours.exists()
