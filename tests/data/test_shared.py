from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasearch.data import load_data
from tasearch.data.shared import SharedDataset, taken_over
from tasearch.errors import DataError
from tests.helpers.studies import tiny


def test_what_is_taken_over_is_what_was_handed_over() -> None:
    data = load_data(tiny())
    given = SharedDataset(data)
    taken = taken_over(given.path)
    for name in ("num_classes", "fingerprint", "in_shape"):
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
        taken_over(given.path)


def test_no_room_for_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = load_data(tiny())

    def full(file: Any, **arrays: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(DataError, match=r"No space left on device \(TMPDIR says"):
            SharedDataset(data)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DataError, match="cannot be handed to the workers: No such file"):
        SharedDataset(data)
