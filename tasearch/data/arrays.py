"""The contract of data: what arrays may look like, and the parts they become."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasearch.errors import DataError, nearest, short, shown

PARTS = ("train", "val", "test")
NAMES = tuple(f"{axis}_{part}" for part in PARTS for axis in "xy")
CHANNELS = (1, 3, 4)
STEP = 256  # samples whose wide copies stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples and their labels.

    Args:
        x: uint8 or float32, (samples, channels, height, width) or (samples, features), in the
            units of the source.
        y: int64, (samples,), 0 .. classes - 1.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a search may see.

    Args:
        train: learned from.
        validation: decides.
        num_classes: of the labels.
        mean: of the training part, broadcastable to one sample: per channel or per feature.
        std: likewise; 1 where a channel or feature never changes.
        fingerprint: digest of both parts, 32 hex digits.
    """

    train: Split
    validation: Split
    num_classes: int
    mean: np.ndarray
    std: np.ndarray
    fingerprint: str

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(channels, height, width) or (features,)."""
        return tuple(self.train.x.shape[1:])

    @classmethod
    def from_splits(cls, *, train: Split, validation: Split, num_classes: int) -> Dataset:
        mean, std = moments(train.x)
        std[std < 1e-8] = 1.0
        digest = hashlib.sha256()
        for array in (train.x, train.y, validation.x, validation.y):
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return cls(
            train=train,
            validation=validation,
            num_classes=num_classes,
            mean=mean.astype(np.float32),
            std=std.astype(np.float32),
            fingerprint=digest.hexdigest()[:32],
        )


def is_whole(x: np.ndarray) -> bool:
    """Whether all samples consist of whole numbers.

    Args:
        x: Samples, uint8 or float32 (samples, ...).
    """
    return x.dtype == np.uint8 or all(np.array_equal(one, np.rint(one)) for one in x)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel or feature, float64, shaped like one sample.

    Bytes are added up as integers, some samples at a time: exact, and without a wide copy of all.
    """
    axes = (0, *range(2, x.ndim))
    if x.dtype != np.uint8:
        return (
            x.mean(axis=axes, dtype=np.float64, keepdims=True)[0],
            x.std(axis=axes, dtype=np.float64, keepdims=True)[0],
        )
    count = x.size // x.shape[1]
    total: Any = 0
    squares: Any = 0
    for start in range(0, len(x), STEP):
        part = x[start : start + STEP].astype(np.uint32)
        total += part.sum(axis=axes, dtype=np.uint64, keepdims=True)[0]
        part *= part
        squares += part.sum(axis=axes, dtype=np.uint64, keepdims=True)[0]
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def check(
    arrays: Mapping[str, np.ndarray], *, layout: str, where: str
) -> tuple[dict[str, Split], int]:
    """Arrays to parts.

    Args:
        arrays: by the names in NAMES; `x_train` and `y_train` at least. Images are
            (samples, height, width) or have channels last or first; features are flat.
        layout: "auto", "chw" or "hwc".
        where: the file or function, for messages.

    Returns:
        The parts that are there, and the number of classes.

    Raises:
        DataError: naming the array, the rule and the value found.
    """
    for name in arrays:
        if name not in NAMES:
            raise DataError(f"{where}: unknown array {short(name)!r}{nearest(name, NAMES)}")
    given = [part for part in PARTS if f"x_{part}" in arrays or f"y_{part}" in arrays]
    for part in ["train", *given]:
        for name in (f"x_{part}", f"y_{part}"):
            if name not in arrays:
                raise DataError(f"{where}: array {name!r} is missing; found {sorted(arrays)}")
    given_labels = {part: _labels(arrays[f"y_{part}"], f"{where}: y_{part}") for part in given}
    num_classes = _classes(given_labels, where)
    labels = {part: y.astype(np.int64) for part, y in given_labels.items()}
    parts: dict[str, Split] = {}
    for part in given:
        x = _samples(arrays[f"x_{part}"], layout, f"{where}: x_{part}")
        if len(x) != len(labels[part]):
            raise DataError(
                f"{where}: x_{part} and y_{part} should have the same length, "
                f"found {len(x)} and {len(labels[part])}"
            )
        if part != "train" and x.shape[1:] != parts["train"].x.shape[1:]:
            raise DataError(
                f"{where}: x_{part}: should have samples of shape {parts['train'].x.shape[1:]} "
                f"as x_train has, found {x.shape[1:]}"
            )
        parts[part] = Split(x=x, y=labels[part])
    if len({part.x.dtype for part in parts.values()}) > 1:
        parts = {n: replace(part, x=part.x.astype(np.float32)) for n, part in parts.items()}
    return parts, num_classes


def _labels(y: np.ndarray, where: str) -> np.ndarray:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{where}: labels should be integers of shape (samples,), "
            f"found {shown(y.dtype)} of shape {y.shape}"
        )
    if len(y) == 0:
        raise DataError(f"{where}: has no samples")
    if y.min() < 0:
        raise DataError(
            f"{where}[{int(y.argmin())}]: labels should not be negative, found {y.min()}"
        )
    return y  # of any width: what int64 cannot hold is told apart by `_classes`


def _classes(labels: Mapping[str, np.ndarray], where: str) -> int:
    """Classes are 0 .. the largest label of the training part, each of them there."""
    largest, samples = int(labels["train"].max()), len(labels["train"])
    if largest >= samples:  # before anything as large as a label is allocated
        raise DataError(
            f"{where}: y_train: labels should be 0 .. classes - 1 without a gap, "
            f"found {largest} at [{int(labels['train'].argmax())}] among {samples:,} samples"
        )
    counts = np.bincount(labels["train"].astype(np.int64))
    num_classes = len(counts)
    if num_classes < 2:
        raise DataError(f"{where}: y_train: should have at least two classes, found only class 0")
    if not counts.all():
        raise DataError(
            f"{where}: y_train: labels should be 0 .. {num_classes - 1} without a gap, "
            f"found no sample of class {int(counts.argmin())}"
        )
    for part, y in labels.items():
        if y.max() >= num_classes:
            raise DataError(
                f"{where}: y_{part}[{int(y.argmax())}]: labels should be 0 .. {num_classes - 1} "
                f"as in y_train, found {y.max()}"
            )
    return num_classes


def _samples(x: np.ndarray, layout: str, where: str) -> np.ndarray:
    """uint8 as it is, all else float32; channels first."""
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: samples should be real numbers, found {shown(x.dtype)}")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{where}: samples should be (n, features), (n, height, width) or (n, height, width, "
            f"channels) in either order, found shape {x.shape}"
        )
    if x.dtype != np.uint8:
        given = x
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            found = given[place]
            raise DataError(f"{where}{list(place)}: should be a finite float32, found {found}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and _channels_last(x.shape, layout, where):
        x = np.moveaxis(x, 3, 1)
    return np.ascontiguousarray(x)


def _channels_last(shape: tuple[int, ...], layout: str, where: str) -> bool:
    if layout != "auto":
        return layout == "hwc"
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        raise DataError(
            f"{where}: cannot tell the axis of channels in shape {shape}; "
            f'set data.layout to "chw" or "hwc"'
        )
    return last
