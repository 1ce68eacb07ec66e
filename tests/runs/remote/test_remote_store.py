"""Hops of a run at a URL: on this disk, on another one, damaged here or there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tasearch.chains.mode import Mode
from tasearch.config.places import Url
from tasearch.errors import StoreError
from tasearch.runs.addresses import store_address, store_at
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.store import RemoteStore
from tasearch.runs.remote.versions import DATA, RULE
from tasearch.runs.store import HopRecord, Store
from tests.helpers.object_stores import FailingStore, Killed, objects

KEY, OTHER = "0" * 32, "1" * 32
Open = Callable[..., RemoteStore]


@pytest.fixture
def opened(url: Url, tmp_path: Path) -> Open:
    """Opens the store on a disk."""

    def at(disk: str, token: int | None = 1, **options: object) -> RemoteStore:
        return RemoteStore(tmp_path / disk, bucket=Bucket(url), token=token, **options)  # type: ignore[arg-type]

    return at


def record(epoch: int = 4) -> HopRecord:
    return HopRecord(
        widths=(16,),
        recipes=(None,),
        mode=Mode(bf16=False, slots=None, shared=False),
        epoch=epoch,
        epochs=(epoch,),
        curves=((0.5,),),
    )


def save(store: Store, kind: str = "hops", value: float = 1.0, epoch: int = 4) -> None:
    store.save(kind, KEY, {"w": torch.full((3,), value)}, record(epoch))


def value(store: RemoteStore, kind: str = "hops") -> float | None:
    found = store.load(kind, KEY)
    return None if found is None else float(found[0]["w"][0])


@pytest.mark.parametrize("kind", ["hops", "checkpoints", "snapshots"])
def test_file_is_seen_from_another_disk(opened: Open, kind: str) -> None:
    here, there = opened("here"), opened("there", None)
    assert value(there, kind) is None
    save(here, kind)
    assert value(there, kind) == 1.0
    assert there.record(kind, KEY) == record()
    assert (there.path / kind / f"{KEY}.safetensors").is_file()
    assert opened("here").has(KEY) == opened("there").has(KEY) == (kind == "hops")


def test_soft_targets_stay_on_their_disk(opened: Open, url: Url) -> None:
    here = opened("here")
    save(here, "targets")
    assert value(here, "targets") == 1.0
    assert value(opened("there"), "targets") is None
    assert objects(url) == {}


def test_newer_checkpoint_replaces_the_one_here(opened: Open) -> None:
    here, there = opened("here"), opened("there", 2)
    save(here, "checkpoints", 1.0, epoch=1)
    assert value(there, "checkpoints") == 1.0
    save(there, "checkpoints", 2.0, epoch=2)
    assert value(here, "checkpoints") == 2.0
    save(here, "checkpoints", 3.0, epoch=3)  # of an earlier lease, whose holder was asleep
    assert value(there, "checkpoints") == 2.0
    there.drop("checkpoints", KEY)
    assert value(opened("third"), "checkpoints") is None


def test_checkpoint_that_is_further_stays(opened: Open) -> None:
    """Another worker of this machine has saved it, and is about to share it."""
    here, there = opened("here"), opened("there", 1)
    save(there, "checkpoints", 1.0, epoch=1)
    save(Store(here.path), "checkpoints", 2.0, epoch=2)
    assert value(here, "checkpoints") == 2.0
    assert value(there, "checkpoints") == 1.0
    opened("here", 2).publish_unshared()  # its worker was killed before
    assert value(there, "checkpoints") == 2.0


def test_finished_hop_is_read_without_the_store(failing: Url, tmp_path: Path) -> None:
    store = RemoteStore(tmp_path, bucket=Bucket(failing), token=1)
    save(store)
    FailingStore.fail(ConnectionResetError("gone"))
    assert value(store) == 1.0
    with pytest.raises(StoreError, match="cannot be listed: ConnectionResetError: gone"):
        store.has(OTHER)


def test_finished_hops_of_all_disks_are_listed(opened: Open) -> None:
    save(opened("here"))
    there = opened("there")
    there.save("hops", OTHER, {"w": torch.zeros(1)}, record())
    assert opened("here").finished() == there.finished() == [KEY, OTHER]


def test_file_that_is_damaged_here_is_brought_again(opened: Open) -> None:
    here = opened("here", strict=True)
    save(here)
    file = here.path / "hops" / f"{KEY}.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert value(here) == 1.0
    file.write_bytes(b"")
    assert opened("here", None).has(KEY)


def test_file_that_is_damaged_there_counts_as_absent(opened: Open, url: Url) -> None:
    save(opened("here"))
    (name,) = (name for name in objects(url) if name.endswith(DATA))
    Bucket(url).write(name, b"damaged")
    warnings: list[str] = []
    there = opened("there", warn=warnings.append)
    assert not there.has(KEY)
    damage = f"{url / name}: is damaged: it should have {RULE}"
    assert warnings == [f"{damage}; it counts as absent"]
    with pytest.raises(StoreError, match=f"^{damage}"):
        opened("strict", None, strict=True).has(KEY)
    save(there)  # it is trained again
    assert value(opened("third", strict=True)) == 1.0


def test_file_that_is_another_ones_counts_as_absent(opened: Open, url: Url) -> None:
    """The content is whole, and has the wrong seal."""
    save(opened("here"))
    bucket = Bucket(url)
    for name, content in objects(url).items():
        bucket.write(name.replace(KEY, OTHER), content)
    warnings: list[str] = []
    assert not opened("there", warn=warnings.append).has(OTHER)
    assert warnings[0].endswith(
        f"holds what belongs in hops/{KEY}.safetensors; it counts as absent"
    )


@pytest.mark.parametrize("write", [1, 2])
def test_what_a_kill_left_here_is_shared_by_the_next_driver(
    failing: Url, tmp_path: Path, write: int
) -> None:
    store = RemoteStore(tmp_path / "here", bucket=Bucket(failing), token=1)
    FailingStore.fatal = FailingStore.writes + write
    with pytest.raises(Killed):
        save(store)
    FailingStore.heal()
    there = RemoteStore(tmp_path / "there", bucket=Bucket(failing), token=2)
    assert not there.has(KEY)
    assert there.finished() == []
    damaged = store.path / "hops" / f"{OTHER}.safetensors"
    damaged.write_bytes(b"damaged")
    RemoteStore(tmp_path / "here", bucket=Bucket(failing), token=3).publish_unshared()
    assert there.has(KEY)
    assert there.finished() == [KEY]


def test_worker_opens_the_same_store_by_its_address(
    opened: Open, url: Url, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = opened("here", under="confirm")
    save(here)
    address = store_address(here)
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "another-machine"))
    there = store_at(address, lambda message: None)
    assert there.has(KEY)
    assert there.path.is_relative_to(tmp_path / "another-machine")
    assert store_address(there)["remote"] == address["remote"]
    assert store_at(store_address(opened("x")), lambda message: None).record("hops", KEY) is None
