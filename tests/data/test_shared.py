from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasearch.data import array_file, load_data
from tasearch.data.array_file import ArrayFile
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import DataError
from tests.helpers.studies import tiny


def test_read_shared_returns_dataset_bit_for_bit() -> None:
    data = replace(load_data(tiny()), class_names=("a", "\u00e9 b", *"cdefghij"))
    given = SharedDataset(data)
    taken = read_shared(given.path)
    for name in ("class_names", "num_classes", "fingerprint", "in_shape"):
        assert getattr(taken, name) == getattr(data, name)
    for a, b in (
        (taken.mean, data.mean),
        (taken.std, data.std),
        (taken.train.x, data.train.x),
        (taken.train.y, data.train.y),
        (taken.validation.x, data.validation.x),
        (taken.validation.y, data.validation.y),
    ):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    given.close()
    with pytest.raises(FileNotFoundError):
        read_shared(given.path)


def test_shared_dataset_without_room_names_tmpdir(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = load_data(tiny())

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ArrayFile, "add", full)
        with pytest.raises(DataError, match="No space left on device; set TMPDIR"):
            SharedDataset(data)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DataError, match="cannot be shared with the workers: No such file"):
        SharedDataset(data)


@pytest.mark.parametrize("unnamed", [array_file.UNNAMED, False])
def test_shared_dataset_outlives_its_writer_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unnamed: bool
) -> None:
    """Without /proc, as on macOS and Windows, the file has a name."""
    monkeypatch.setattr(array_file, "UNNAMED", unnamed)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = load_data(tiny())
    written = SharedDataset(data)
    adopted = SharedDataset.adopt(written.path)
    written._file._file.close()  # as at the end of the process that has written it
    assert read_shared(adopted.path).fingerprint == data.fingerprint
    adopted.close()
    assert [*tmp_path.iterdir()] == []


def test_shared_dataset_of_other_machines_has_a_name(tmp_path: Path) -> None:
    """In a folder that they see; what a kill has left there before is removed."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "left.arrays").touch()
    data = load_data(tiny())
    written = SharedDataset(data, tmp_path / "shared")
    assert [*map(str, (tmp_path / "shared").iterdir())] == [written.path]
    assert read_shared(written.path).fingerprint == data.fingerprint
    written.close()
    assert [*(tmp_path / "shared").iterdir()] == []
