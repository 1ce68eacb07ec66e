"""Data that are given from Python."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tasearch.config.data_section import DataSection
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.data.given import NAME, Given
from tasearch.errors import DataError

X, Y = np.arange(48, dtype=np.uint8).reshape(6, 2, 4), np.array([0, 1, 0, 1, 0, 1])


class Items:
    """A map-style dataset of some items."""

    def __init__(self, *items: Any) -> None:
        self.items, self.read = items, list[int]()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        self.read.append(i)
        return self.items[i]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(X[0], 0)])


def content(
    x: Any, y: Any = None, *, validation: Any = None, test: Any = None, layout: str = "auto"
) -> dict[str, np.ndarray]:
    given = Given(x=x, y=y, validation=validation, test=test)
    with np.load(
        io.BytesIO(given.content(DataSection(layout=layout))[0]), allow_pickle=False
    ) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, Y),
        (torch.tensor(X), torch.tensor(Y)),
        (X, Y.tolist()),
        (TensorDataset(torch.tensor(X), torch.tensor(Y)), None),
        (Items(*zip(X, Y, strict=True)), None),
    ],
    ids=["arrays", "tensors", "list", "torch dataset", "items"],
)
def test_same_data_in_any_form_are_the_same_arrays(x: Any, y: Any) -> None:
    found = content(x, y)
    assert found.keys() == {"x_train", "y_train"}
    assert found["x_train"].dtype == np.uint8
    np.testing.assert_array_equal(found["x_train"], X[:, None])
    np.testing.assert_array_equal(found["y_train"], Y)


def test_lists_are_features_of_float32() -> None:
    found = content([[0, 1], [2, 3]], [0, 1])
    assert found["x_train"].dtype == np.float32
    assert found["x_train"].tolist() == [[0, 1], [2, 3]]


def test_channels_come_first() -> None:
    x = np.arange(2 * 5 * 6 * 3, dtype=np.float32).reshape(2, 5, 6, 3)
    for layout in ("auto", "hwc"):
        np.testing.assert_array_equal(
            content(x, [0, 1], layout=layout)["x_train"], np.moveaxis(x, 3, 1)
        )


def test_parts_may_be_pairs_and_datasets() -> None:
    found = content(X, Y, validation=(X[:2], Y[:2]), test=Items((X[3], 1)))
    assert found.keys() == {f"{axis}_{p}" for axis in "xy" for p in ("train", "val", "test")}
    np.testing.assert_array_equal(found["x_val"], X[:2, None])
    assert found["y_test"].tolist() == [1]


def test_dataset_is_read_once_with_progress() -> None:
    data, told = Items(*zip(X, Y, strict=True)), list[tuple[int, int]]()
    given = Given(x=data, y=None, validation=None, test=None)
    given.content(DataSection(), lambda done, total: told.append((done, total)))
    assert data.read == [*range(6)]
    assert told == [(i + 1, 6) for i in range(6)]


ONCE = "bring arrays, lists, or a dataset of torch with __len__ and __getitem__"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "generator": (
        {"x": (x for x in X), "y": Y},
        f"x: is a generator, which can be read only once; {ONCE}",
    ),
    "generator of labels": (
        {"x": X, "y": iter(Y.tolist())},
        f"y: is a list_iterator, which can be read only once; {ONCE}",
    ),
    "iterable dataset": (
        {"x": Stream()},
        f"x: is an iterable dataset (Stream), without an order; {ONCE}",
    ),
    "loader": (
        {"x": DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)))},
        "x: is a DataLoader, which draws batches; bring its dataset",
    ),
    "no labels": (
        {"x": X},
        "y: labels are missing; bring them, or a map-style dataset of torch",
    ),
    "labels twice": (
        {"x": Items((X[0], 0)), "y": Y},
        "y: goes with arrays; the dataset x has its own labels",
    ),
    "no pair": (
        {"x": X, "y": Y, "validation": (X, Y, Y)},
        "validation: should be (samples, labels), found 3 values",
    ),
    "no labels of a part": (
        {"x": X, "y": Y, "test": (X, None)},
        "test[1]: labels are missing; bring them, or a map-style dataset of torch",
    ),
    "shape": (
        {"x": np.zeros(6), "y": Y},
        "search: x_train: samples should be (n, features), (n, height, width) or (n, height, "
        "width, channels) in either order, found shape (6,)",
    ),
    "lengths": (
        {"x": X, "y": Y[:5]},
        "search: x_train and y_train should have the same length, found 6 and 5",
    ),
    "labels of floats": (
        {"x": X, "y": Y / 2},
        "search: y_train: labels should be classes, one a sample: integers, booleans or strings of "
        "shape (samples,), found float64 of shape (6,); regression is not there",
    ),
    "ragged": (
        {"x": [[1, 2], [3]], "y": [0, 1]},
        "x: is no array of numbers (builtins.list): setting an array element with a sequence. The "
        "requested array has an inhomogeneous shape after 1 dimensions. The detected shape was "
        "(2,) + inhomogeneous part.",
    ),
    "sample of another shape": (
        {"x": Items((X[0], 0), (X[1][:1], 1))},
        "x[1]: should be uint8 of shape (2, 4) as x[0] is, found uint8 of shape (1, 4)",
    ),
    "item that is no pair": (
        {"x": Items(X[0])},
        "x[0]: should be a pair (sample, label), found ndarray",
    ),
    "label that is no integer": (
        {"x": Items((X[0], 0.5))},
        "x[0]: the label should be one integer, boolean or string, found 0.5",
    ),
    "empty dataset": ({"x": Items()}, "x: has no samples"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_data_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        content(**arguments)
    assert str(error.value) == message


def test_dataset_that_raises_is_refused_with_its_item() -> None:
    class Broken(Items):
        def __getitem__(self, i: int) -> Any:
            raise OSError("no such picture")

    with pytest.raises(DataError) as error:
        content(Broken(1, 2))
    assert str(error.value) == "x[0] raised OSError: no such picture"


@pytest.mark.parametrize("name", ["y", "validation", "test"])
def test_other_parts_go_with_samples(name: str) -> None:
    values = dict.fromkeys(("x", "y", "validation", "test"))
    assert not Given(**values).there
    with pytest.raises(DataError) as error:
        Given(**values | {name: [1]}).there  # noqa: B018
    assert str(error.value) == f"{name}: goes with x, which is not given"


@pytest.mark.parametrize(
    "names", [("red", "white", "blue"), (30, 10, 20), (True, False), ("10", "9", "100")]
)
def test_classes_keep_their_names(tmp_path: Path, names: tuple[Any, ...]) -> None:
    y = [names[i % len(names)] for i in range(60)]
    x = np.arange(120.0).reshape(60, 2)
    file = tmp_path / NAME
    file.write_bytes(Given(x=x, y=y, validation=None, test=None).content(DataSection())[0])
    data = load_data(parse_study({"data": {"source": "npz", "path": str(file)}}))
    assert data.class_names == tuple(map(str, sorted(names)))
    dataset = Items(*zip(x, y, strict=True))
    file.write_bytes(Given(x=dataset, y=None, validation=None, test=None).content(DataSection())[0])
    assert np.load(file)["y_train"].tolist() == y
