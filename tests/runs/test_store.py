"""The store: hops on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tasearch.chains.mode import Mode
from tasearch.config.files import write_atomic
from tasearch.errors import StoreError
from tasearch.runs.seals import seal_tensors, unseal_tensors
from tasearch.runs.store import HopRecord, Store

RECORD = HopRecord(
    widths=(8, 4),
    recipes=(None, {"a": 1}),
    mode=Mode.parse("fp32"),
    epoch=3,
    epochs=(1, 3),
    curves=((0.5, 1),),
)
TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "h": torch.ones(2).half()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.save("hops", "k", TENSORS, RECORD)
    return store


def file_of(store: Store) -> Path:
    return store.path / "hops" / "k.safetensors"


def test_store_loads_what_was_saved(store: Store) -> None:
    loaded = store.load("hops", "k")
    assert loaded is not None
    tensors, record = loaded
    assert record == RECORD
    assert store.record("hops", "k") == RECORD
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
    assert store.finished() == ["k"]
    assert store.load("hops", "other") is None


def test_store_writes_equal_safetensors_for_equal_content(store: Store) -> None:
    assert torch.equal(safetensors.torch.load_file(file_of(store))["w"], TENSORS["w"])
    before = file_of(store).read_bytes()
    store.save("hops", "k", dict(reversed(TENSORS.items())), RECORD)
    assert file_of(store).read_bytes() == before


def test_store_detects_every_flipped_byte_and_every_cut(store: Store) -> None:
    whole = file_of(store).read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        with pytest.raises(StoreError, match="is damaged"):
            unseal_tensors(bytes(damaged), "hops/k")
        with pytest.raises(StoreError, match="is damaged"):
            unseal_tensors(whole[:place], "hops/k")


def test_store_names_a_damaged_file_which_counts_as_absent(tmp_path: Path, store: Store) -> None:
    told: list[str] = []
    watched = Store(tmp_path, told.append)
    file = file_of(store)
    file.write_bytes(file.read_bytes()[:-1])
    assert not watched.has("k")
    assert told == [
        f"{file}: is damaged: its content does not match its checksum; it counts as absent"
    ]


def test_store_keeps_tensors_that_share_memory(store: Store) -> None:
    weight = torch.ones(2, 2)
    store.save("hops", "tied", {"a": weight, "b": weight.t()}, RECORD)
    loaded = store.load("hops", "tied")
    assert loaded is not None
    assert torch.equal(loaded[0]["b"], weight)


def test_full_disk_leaves_only_the_old_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_of(store).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as error:
        store.save("hops", "k", {"w": torch.zeros(9)}, RECORD)
    assert str(error.value) == (
        f"{file_of(store)}: no room left on the disk; what is finished is kept, "
        f"make room and run the same command again"
    )
    assert file_of(store).read_bytes() == before
    assert [p.name for p in (store.path / "hops").iterdir()] == ["k.safetensors"]


def test_written_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_write_reports_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: "):
        write_atomic(tmp_path / "file" / "x", b"")


def test_seal_keeps_tensors_aligned() -> None:
    for size in range(1, 9):
        blob = seal_tensors(safetensors.torch.save({"w": torch.ones(size)}), {"n": "x" * size}, "k")
        assert int.from_bytes(blob[:8], "little") % 8 == 0
        assert unseal_tensors(blob, "k") == {"n": "x" * size}
