"""The notice of a validation part on which students cannot be well compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasearch.data import load_data
from tasearch.search.few_samples import FEW, validation_notices
from tests.helpers.studies import tiny


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(FEW) % 10, ()),
        (np.arange(FEW) % 9, ("has no sample of class '9': how well students know it counts",)),
        (
            np.arange(FEW) % 2,
            ("no sample of classes '2', '3', '4', '5', '6' and 3 more: how well students know",),
        ),
        (np.arange(10), ("has 10 samples, and one is 10% of the accuracy",)),
        (np.array([3]), ("has 1 sample, and one is 100%", "has no sample of classes '0', '1'")),
    ],
)
def test_small_validation_part_is_told(
    tmp_path: Path, labels: np.ndarray, told: tuple[str, ...]
) -> None:
    random = np.random.default_rng(0)
    arrays = {"x_train": random.normal(size=(60, 3)), "y_train": np.arange(60) % 10}
    arrays |= {"x_val": random.normal(size=(len(labels), 3)), "y_val": labels}
    np.savez(tmp_path / "d.npz", **arrays)
    study = tiny(data={"source": "npz", "path": "d.npz"})
    found = validation_notices(load_data(study.model_copy(update={"root": str(tmp_path)})))
    assert len(found) == len(told)
    for notice, words in zip(found, told, strict=True):
        assert words in notice
