"""The notice of features that are the same in all training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.search.constants import constant_notices
from tests.helpers.studies import tiny

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3


def notices(folder: Path, x: np.ndarray, **data: Any) -> list[str]:
    np.savez(folder / "d.npz", x_train=x, y_train=Y)
    return constant_notices(load_data(study_of(folder, "npz", "d.npz", **data)))


def study_of(folder: Path, source: str, path: str, **data: Any) -> Study:
    study = tiny(data={"source": source, "path": path, **data})
    return study.model_copy(update={"root": str(folder)})


def test_features_of_one_value_are_counted_and_numbered(tmp_path: Path) -> None:
    x = RNG.normal(size=(60, 9)).astype(np.float32)
    assert notices(tmp_path, x) == []
    x[:, [1, 4]] = 0.1, -2
    expected = (
        "2 of 9 features are the same in all training samples (counted from 0: 1, 4): nothing can "
        "be learned of them, and their weights count as parameters; leave them out if you can"
    )
    assert notices(tmp_path, x) == notices(tmp_path, x, standardize=False) == [expected]
    x[:, :7] = 3
    (notice,) = notices(tmp_path, x)
    assert "7 of 9 features" in notice and "(counted from 0: 0, 1, 2, 3, 4, ...)" in notice


def test_channel_of_one_value_is_told(tmp_path: Path) -> None:
    x = RNG.integers(256, size=(60, 3, 5, 6), dtype=np.uint8)
    x[:, 2] = 255
    (notice,) = notices(tmp_path, x, layout="chw")
    assert notice.startswith("1 of 3 channels are the same in all training samples ")


def test_deviation_of_one_is_no_constant(tmp_path: Path) -> None:
    x = np.tile(np.array([[-1.0], [1.0]], np.float32), (30, 2))
    assert notices(tmp_path, x, validation=0.5, split_seed=1) == []


def test_columns_of_one_value_are_named(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"far": RNG.normal(size=60), "label": Y, "of": ["a", None] * 30}
    for constant, words in (
        ({}, None),
        ({"unit": ["km"] * 60}, "column 'unit=km' has one value in all of the training part"),
        ({"b": [2.0] * 60, "c": [3] * 60}, "columns 'b', 'c' have one value in all of the "),
    ):
        pq.write_table(pa.table({**columns, **constant}), tmp_path / "t.parquet")
        found = constant_notices(load_data(study_of(tmp_path, "parquet", "t.parquet")))
        assert [words is not None and one.startswith(words) for one in found] == [True] * bool(
            words
        )
        assert all("in data.drop" in one for one in found)
