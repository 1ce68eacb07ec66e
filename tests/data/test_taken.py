"""Samples in a mapped file: the same data, and one copy for all processes."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasearch.data import Dataset, load_data, load_test, taken
from tasearch.data.array_file import CHUNK, ArrayFile, read_arrays
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import DataError
from tests.helpers.arrays import npz
from tests.helpers.folders import study as folder_study
from tests.helpers.folders import write


def mapped(array: np.ndarray) -> bool:
    """Whether an array is a part of a mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def same(one: Dataset, other: Dataset) -> bool:
    parts = [(one.train, other.train), (one.validation, other.validation)]
    arrays = [(getattr(a, n), getattr(b, n)) for a, b in parts for n in ("x", "y")]
    arrays += [(one.mean, other.mean), (one.std, other.std)]
    equal = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
    return equal and (one.fingerprint, one.class_names) == (other.fingerprint, other.class_names)


def test_array_file_gives_back_every_kind_of_array() -> None:
    file, rng = ArrayFile(), np.random.default_rng(0)
    given = {
        "pixels": rng.integers(0, 256, (70, 3, 5, 7), dtype=np.uint8),
        "columns": np.asfortranarray(rng.normal(size=(9, 4))),
        "labels": rng.integers(0, 9, 33),
        "names": np.array(["a", "\u00e9 b"]),
        "one": np.array("text"),
        "many": np.arange(CHUNK // 4, dtype=np.int64),  # more than is written at a time
    }
    returned = {name: file.add(name, array) for name, array in given.items()}
    returned["some"] = file.add("some", given["pixels"], np.array([2, 3, 69]))
    given["some"] = given["pixels"][[2, 3, 69]]
    for found in (returned, read_arrays(file.path)):
        assert [*found] == [*given] == file.names
        for name, array in given.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes()
            assert mapped(found[name])
            assert found[name].ctypes.data % 64 == 0
    returned["labels"][:] = -1  # changes no file
    assert np.array_equal(read_arrays(file.path)["labels"], given["labels"])
    file.close()


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("parts", [("train",), ("train", "val", "test")])
def test_many_samples_are_in_a_file_that_all_processes_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...], kind: type
) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"x_{part}": rng.integers(0, 256, (60, 8, 9)).astype(kind) for part in parts}
    study = npz(tmp_path, **arrays, **{f"y_{part}": np.arange(60) % 3 for part in parts})
    small, test = load_data(study), load_test(study)
    monkeypatch.setattr(taken, "LARGE", 1)
    large = load_data(study)
    assert same(large, small)
    assert mapped(large.train.x) and not mapped(small.train.x)
    assert (small.file, large.file is None) == (None, False)
    assert np.array_equal(load_test(study).x, test.x)
    assert large.file is not None
    for shared in (SharedDataset(large), SharedDataset(large)):  # as in a search, then a verdict
        assert shared.path == large.file.path  # no other copy
        assert same(read_shared(shared.path), small)
        shared.close()
    assert large.file.names.count("x_train") == 1


def test_samples_of_images_are_in_a_file_beside_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    write(tmp_path / "own", {"a": pixels, "b": pixels[:, ::-1]})
    study = folder_study(tmp_path / "own")
    small = load_data(study)
    monkeypatch.setattr(taken, "LARGE", 1)
    assert same(load_data(study), small)
    monkeypatch.setattr(taken, "ArrayFile", full_disk)
    with pytest.raises(DataError, match=r"cannot be written to a file: No space.*TASEARCH_CACHE"):
        load_data(study)


def full_disk(folder: Path) -> ArrayFile:
    assert folder.name == "cache"
    raise OSError(28, "No space left on device")
