"""The contract of data: what a source's arrays may look like, and the parts that they become."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from tasearch.data.array_file import ArrayFile
from tasearch.data.ids import Ids, Tokens, are_ids, as_ids, ids_of
from tasearch.data.labels import are_numbers, number_classes
from tasearch.data.statistics import moments
from tasearch.errors import DataError, nearest, short, shown

if TYPE_CHECKING:
    from tasearch.data.features import TableData
    from tasearch.data.tokenizer import TextTokenizer

PARTS = ("train", "val", "test")
OUTPUTS = tuple(f"teacher_{part}" for part in PARTS)  # of a teacher, for teacher.outputs
UNLABELLED = "x_unlabelled"
JOINED = "x_inputs"  # of the training set, and of samples without labels behind it
NAMES = (*(f"{axis}_{part}" for part in PARTS for axis in "xy"), *OUTPUTS, UNLABELLED)
CHANNELS = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples and their labels: the training set, the validation set or the held-out test set.

    Args:
        x: Samples in the source's units, uint8 or float32, (samples, channels, height, width) or
            (samples, features); or integers that stay so, int32 or int64 (samples, length).
        y: Labels, int64 (samples,), in 0 .. classes - 1.
        teacher: Logits of a teacher that is given by them alone, float32 (samples, classes).
    """

    x: np.ndarray
    y: np.ndarray
    teacher: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The data that a search may see.

    Args:
        train: The training set.
        validation: The validation set.
        class_names: Names of the classes by number; "0", "1" and so on where they have no others.
        mean: Mean of the training set per channel or feature, float32, broadcastable to one sample;
            0 where samples are not standardized.
        std: Standard deviation of the training set, shaped like `mean`; 1 for a channel or feature
            that is constant, and where samples are not standardized.
        fingerprint: The first 32 hex digits of SHA-256 over both sets, and over the names of the
            classes where they are more than numbers.
        table: How a table's rows became features; None for other data, and in workers.
        file: The file in which the samples are, mapped; None where they are in memory.
        channels_last: Whether exported students take images with their channels last.
        unlabelled: Samples without labels, like those of the training set; None if there are none.
        tokens: What token ids of texts are; None for other data.
        text: How texts became token ids; None for other data, and in workers.
        held_out_ids: The least and the greatest integer of the test set, of which nothing else is
            known here; None for other samples.
        joined: The array of which the samples of the training set and those without labels are
            parts, so that neither is in memory twice; None where they are apart.
    """

    train: Split
    validation: Split
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    fingerprint: str
    table: TableData | None = None
    file: ArrayFile | None = None
    channels_last: bool = False
    unlabelled: np.ndarray | None = None
    tokens: Tokens | None = None
    text: TextTokenizer | None = None
    held_out_ids: tuple[int, int] | None = None
    joined: np.ndarray | None = None

    @cached_property
    def inputs(self) -> np.ndarray:
        """Samples of the training set, and those without labels behind them."""
        if self.unlabelled is None:
            return self.train.x
        if self.joined is not None:
            return self.joined
        return np.concatenate([self.train.x, self.unlabelled])

    def with_joined(self, joined: np.ndarray) -> Self:
        """The same data, whose training set and samples without labels are parts of one array.

        Args:
            joined: The samples of both, one behind the other.
        """
        count = len(self.train)
        train = replace(self.train, x=joined[:count])
        return replace(self, train=train, unlabelled=joined[count:], joined=joined)

    @cached_property
    def unlabelled_digest(self) -> str:
        """SHA-256 of the samples without labels, 32 hex digits; empty if there are none."""
        if self.unlabelled is None:
            return ""
        return hashlib.sha256(np.ascontiguousarray(self.unlabelled).data).hexdigest()[:32]

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(channels, height, width) or (features,)."""
        return tuple(self.train.x.shape[1:])

    @property
    def export_shape(self) -> tuple[int, ...]:
        """The shape of a sample of exported students: `in_shape`, or (height, width, channels)."""
        first, *rest = self.in_shape
        return (*rest, first) if self.channels_last else self.in_shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def ids(self) -> Ids | None:
        """What samples of integers hold; None for other samples."""
        if self.tokens is not None:
            return Ids.of_tokens(self.tokens)
        more = [] if self.unlabelled is None else [self.unlabelled]
        return ids_of([self.train.x, self.validation.x, *more], self.held_out_ids)

    @classmethod
    def from_splits(
        cls,
        *,
        train: Split,
        validation: Split,
        class_names: tuple[str, ...],
        standardize: bool = True,
        text: TextTokenizer | None = None,
    ) -> Dataset:
        """A data set with its statistics and its fingerprint.

        The same arrays with other class names are other data: what an export calls its classes
        must be what its run has called them.

        Args:
            train: The training set.
            validation: The validation set.
            class_names: Names of the classes by number.
            standardize: Whether models take standardized samples.
            text: How texts became token ids; None for other data.
        """
        digest = hashlib.sha256()
        if standardize:
            mean, std = moments(train.x)
            std[std < 1e-8] = 1.0
        else:
            mean = np.zeros((train.x.shape[1], *(1,) * (train.x.ndim - 2)))
            std = np.ones_like(mean)
            digest.update(b"not standardized")  # for models, these are other samples
        outputs = [part.teacher for part in (train, validation) if part.teacher is not None]
        for array in (train.x, train.y, validation.x, validation.y, *outputs):
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        if not are_numbers(class_names):
            digest.update(json.dumps(class_names).encode())
        if text is not None:
            digest.update(text.digest.encode())
        return cls(
            train=train,
            validation=validation,
            class_names=class_names,
            mean=mean.astype(np.float32),
            std=std.astype(np.float32),
            fingerprint=digest.hexdigest()[:32],
            tokens=None if text is None else text.tokens,
            text=text,
        )


def check(
    arrays: Mapping[str, np.ndarray], *, layout: str, where: str, ids: bool = False
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Check arrays, and make parts of them.

    Args:
        arrays: Arrays by the names in NAMES, at least `x_train` and `y_train`. Images are (samples,
            height, width), or with channels before or after height and width; features are
            (samples, features).
        layout: Place of the channels: "auto", "chw" or "hwc".
        where: File or function that the arrays come from, for messages.
        ids: Whether integers of shape (samples, length) stay integers.

    Returns:
        The given parts by name, and the names of the classes by number.

    Raises:
        DataError: An array breaks a rule; the message names the array, the rule and the value.
    """
    for name in arrays:
        if name not in NAMES:
            raise DataError(f"{where}: unknown array {short(name)!r}{nearest(name, NAMES)}")
    given = [part for part in PARTS if f"x_{part}" in arrays or f"y_{part}" in arrays]
    for part in ["train", *given]:
        for name in (f"x_{part}", f"y_{part}"):
            if name not in arrays:
                raise DataError(f"{where}: array {name!r} is missing; found {sorted(arrays)}")
    labels, class_names = number_classes({part: arrays[f"y_{part}"] for part in given}, where)
    parts: dict[str, Split] = {}
    for part in given:
        x = as_samples(arrays[f"x_{part}"], layout, f"{where}: x_{part}", ids=ids)
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
        kind = np.int64 if all(are_ids(part.x) for part in parts.values()) else np.float32
        parts = {n: replace(part, x=part.x.astype(kind)) for n, part in parts.items()}
    return parts, class_names


def as_samples(x: np.ndarray, layout: str, where: str, *, ids: bool = False) -> np.ndarray:
    """Samples as uint8, or else as float32, with channels first; or as integers that stay so."""
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: samples should be real numbers, found {shown(x.dtype)}")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{where}: samples should be (n, features), (n, height, width) or (n, height, width, "
            f"channels) in either order, found shape {x.shape}"
        )
    if ids and x.ndim == 2 and x.dtype.kind in "iu":
        return as_ids(x, where)
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


def are_channels_last(x: np.ndarray, layout: str, where: str) -> bool:
    """Whether samples are images whose last axis is that of channels.

    Args:
        x: Samples, as a source gives them.
        layout: Place of the channels: "auto", "chw" or "hwc".
        where: Name of the array, for messages.

    Raises:
        DataError: That cannot be told.
    """
    return x.ndim == 4 and _channels_last(x.shape, layout, where)


def _channels_last(shape: tuple[int, ...], layout: str, where: str) -> bool:
    """Whether the last axis of a batch of images is that of channels."""
    if layout != "auto":
        return layout == "hwc"
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        raise DataError(
            f"{where}: cannot tell the axis of channels in shape {shape}; "
            f'set data.layout to "chw" or "hwc"'
        )
    return last
