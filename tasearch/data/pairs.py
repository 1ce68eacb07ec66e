"""Pairs of samples and labels, and map-style datasets of torch, as arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tasearch.data.converted import as_array
from tasearch.data.decoding import Progress
from tasearch.data.labels import KINDS
from tasearch.errors import DataError, quoted, raised

READ_TWICE = "bring arrays, lists, or a dataset of torch with __len__ and __getitem__"


def pair_of(pair: Any, where: str) -> tuple[Any, Any]:
    """Samples and labels of a pair of these; of a dataset itself and None.

    Args:
        pair: The pair, or the dataset.
        where: Where it comes from, for messages.

    Raises:
        DataError: It has more or fewer than two values.
    """
    if isinstance(pair, tuple | list):
        if len(pair) != 2:
            raise DataError(f"{where}: should be (samples, labels), found {len(pair)} values")
        return pair[0], pair[1]
    return pair, None


def arrays_of(
    x: Any, y: Any, names: tuple[str, str], progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels as arrays.

    Args:
        x: Samples, or a map-style dataset, whose items are (sample, label).
        y: Labels; None with a dataset.
        names: What both are called in messages.
        progress: Called with (done, total) while a dataset is read.

    Raises:
        DataError: They are no arrays, and no such dataset.
    """
    for name, value in zip(names, (x, y), strict=True):
        check_kind(value, name)
    if not is_dataset(x):
        if y is None:
            raise DataError(
                f"{names[1]}: labels are missing; bring them, or a map-style dataset of torch"
            )
        return as_array(x, names[0]), as_array(y, names[1])
    if y is not None:
        raise DataError(f"{names[1]}: goes with arrays; the dataset {names[0]} has its own labels")
    return _read(x, names[0], progress)


def check_kind(value: Any, name: str) -> None:
    """Refuse what can be read only once, or in no fixed order.

    Args:
        value: What was given.
        name: What it is called in messages.

    Raises:
        DataError: It is such.
    """
    kind, data = type(value).__name__, getattr(sys.modules.get("torch"), "utils", None)
    if isinstance(value, Iterator):
        raise DataError(f"{name}: is a {kind}, which can be read only once; {READ_TWICE}")
    if data is not None and isinstance(value, data.data.IterableDataset):
        raise DataError(f"{name}: is an iterable dataset ({kind}), without an order; {READ_TWICE}")
    if data is not None and isinstance(value, data.data.DataLoader):
        raise DataError(f"{name}: is a DataLoader, which draws batches; bring its dataset")


def is_dataset(value: Any) -> bool:
    """Whether a value is a map-style dataset, and not an array, a tensor or a list."""
    has = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return has and not (hasattr(value, "__array__") or isinstance(value, list | tuple | str | dict))


def _read(dataset: Any, where: str, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
    """All samples and labels of a dataset, each read once."""
    total = len(dataset)
    if not total:
        raise DataError(f"{where}: has no samples")
    x, labels = np.empty(0), []
    for i in range(total):
        sample, label = _item(dataset, i, f"{where}[{i}]")
        labels.append(label)
        if i == 0:
            x = np.empty((total, *sample.shape), sample.dtype)
        if (sample.shape, sample.dtype) != (x.shape[1:], x.dtype):
            raise DataError(
                f"{where}[{i}]: should be {x.dtype} of shape {x.shape[1:]} as {where}[0] is, "
                f"found {sample.dtype} of shape {sample.shape}"
            )
        x[i] = sample
        if progress is not None:
            progress(i + 1, total)
    return x, as_array(labels, f"{where}: labels")


def _item(dataset: Any, i: int, where: str) -> tuple[np.ndarray, int | bool | str]:
    try:
        item = dataset[i]
    except Exception as error:  # the user's class may raise anything
        raise DataError(f"{where} raised {raised(error)}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{where}: should be a pair (sample, label), found {type(item).__name__}")
    sample, label = as_array(item[0], where), as_array(item[1], where)
    if label.size != 1 or label.dtype.kind not in KINDS:
        raise DataError(
            f"{where}: the label should be one integer, boolean or string, found {quoted(item[1])}"
        )
    own: int | bool | str = label.reshape(()).item()
    return sample, own
