"""Names of classes in the metadata of parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasearch.config.study import Study
from tasearch.data import load_data
from tests.helpers.parquet import encoded, pictures, study

NAMES = ["dog", "cat", "ant"]  # not in order


def written(
    folder: Path, metadata: Any, *, images: bool, labels: tuple[int, ...] = (0, 2)
) -> Study:
    y = [labels[i % len(labels)] for i in range(40)]
    own = [encoded(p) for p in pictures(40, 4, 4)] if images else [float(i) for i in range(40)]
    table = pa.table({"image" if images else "number": own, "label": pa.array(y)})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, folder / "d.parquet")
    return study(folder / "d.parquet")


def features(names: Any) -> dict[str, Any]:
    return {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}


@pytest.mark.parametrize("images", [True, False])
def test_names_of_class_labels_are_those_of_the_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: bool
) -> None:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    plain = load_data(written(tmp_path, None, images=images))
    named = load_data(written(tmp_path, features(NAMES), images=images))
    assert (plain.class_names, named.class_names) == (("0", "2"), ("dog", "ant"))
    # runs of before names were read are of the same data
    assert images or named.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    "metadata",
    [
        features(["dog", "cat"]),  # too few
        features(["dog", "dog", "ant"]),
        features("dog"),
        features([1, 2, 3]),
        features(["dog", "", "ant"]),
        features(None),
        {"info": []},
        ["info"],
        None,
    ],
)
def test_other_metadata_leave_numbers(tmp_path: Path, metadata: Any) -> None:
    found = load_data(written(tmp_path, metadata, images=False))
    assert found.class_names == ("0", "2")
