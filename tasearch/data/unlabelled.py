"""Samples without labels, which models learn from by the outputs of their teachers alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from tasearch.data.arrays import UNLABELLED, Split, as_samples
from tasearch.data.ids import are_ids
from tasearch.errors import DataError

LISTED = 5  # samples that a message names
WORD = 8  # bytes of a uint64
CHUNK = 2**20  # bytes of samples that are summed at a time


def unlabelled_samples(
    arrays: Mapping[str, np.ndarray], train: Split, *, layout: str, where: str
) -> np.ndarray | None:
    """The samples without labels of a source; None if it has none.

    Args:
        arrays: The source's arrays.
        train: The samples with labels, whose shape and dtype these should have.
        layout: Place of the channels: "auto", "chw" or "hwc".
        where: File or function that the arrays come from, for messages.

    Raises:
        DataError: They break a rule.
    """
    if UNLABELLED not in arrays:
        return None
    name, place = f"{where}: {UNLABELLED}", train.x
    x = as_samples(arrays[UNLABELLED], layout, name, ids=are_ids(place))
    if x.dtype == np.uint8 and place.dtype == np.float32:
        x = x.astype(np.float32)
    if (x.shape[1:], x.dtype) != (place.shape[1:], place.dtype):
        raise DataError(
            f"{where}: {UNLABELLED}: should have samples of {place.dtype} and shape "
            f"{place.shape[1:]} as x_train has, found {x.dtype} and {x.shape[1:]}"
        )
    return x


def refuse_copies(x: np.ndarray, parts: Mapping[str, Split], where: str) -> None:
    """Refuse samples without labels that are exact copies of held-out ones.

    A student that has learned what the teacher says of a test sample looks better than it is.

    Args:
        x: Samples without labels.
        parts: The parts "train", "val" and "test".
        where: File or function that they come from, for messages.

    Raises:
        DataError: There are copies; the message counts and places them.
    """
    found, sets = _copies(x, {name: parts[name] for name in ("val", "test")})
    if not found:
        return
    listed = ", ".join(map(str, found[:LISTED])) + (", ..." if found[LISTED:] else "")
    raise DataError(
        f"{where}: {UNLABELLED}: {len(found):,} of {len(x):,} samples are exact copies of held-out "
        f"ones ({sets}), which no model should learn from: take them out; numbers {listed}"
    )


def tell_equal_rows(x: np.ndarray, parts: Mapping[str, Split], warn: Callable[[str], None]) -> None:
    """Tell of rows of a table that equal held-out ones: other things may well have equal rows.

    Args:
        x: Features of rows without labels, (rows, features).
        parts: The parts "train", "val" and "test".
        warn: Called with the notice.
    """
    found, sets = _copies(x, {name: parts[name] for name in ("val", "test")})
    if found:
        warn(
            f"data.unlabelled: {len(found):,} of {len(x):,} rows equal held-out ones ({sets}): "
            f"take them out if they are the same things, of which no model should learn"
        )


def tell_copies(given: Mapping[str, Split], warn: Callable[[str], None]) -> None:
    """Tell of held-out samples that are exact copies of training samples.

    A student that has learned a test sample by heart looks better than it is. Only parts that the
    source gives are looked at.

    Args:
        given: The parts that a source gives: "train", and perhaps "val" and "test".
        warn: Called with the notice.
    """
    for name in [name for name in ("val", "test") if name in given]:
        found, _ = _copies(given[name].x, {"train": given["train"]})
        if found:
            warn(
                f"{len(found):,} of {len(given[name].x):,} samples of x_{name} are exact copies of "
                f"training samples, so accuracies on them are too high"
            )


def _copies(x: np.ndarray, parts: Mapping[str, Split]) -> tuple[list[int], str]:
    """The numbers of samples that equal one of some parts, and these parts in words."""
    sums, sums_held = _sums(x), {name: _sums(part.x) for name, part in parts.items()}
    likely = np.flatnonzero(np.isin(sums, np.concatenate([*sums_held.values()])))
    held = {
        _digest(part.x[i]): name
        for name, part in parts.items()
        for i in np.flatnonzero(np.isin(sums_held[name], sums[likely]))
    }
    found = {int(i): held[digest] for i in likely if (digest := _digest(x[i])) in held}
    return [*found], " and ".join(sorted({*found.values()}, reverse=True))


def _sums(x: np.ndarray) -> np.ndarray:
    """A weighted sum of the bytes of each sample, uint64 (samples,); equal ones have equal sums.

    It takes a tenth of the time of a digest, and few samples need one then.
    """
    values = x[0].size * x.itemsize
    words = -(-values // WORD)
    weights = np.random.default_rng(0).integers(2**64, size=words, dtype=np.uint64)
    found = np.empty(len(x), np.uint64)
    step = max(CHUNK // values, 1)
    for start in range(0, len(x), step):
        part = np.ascontiguousarray(x[start : start + step]).view(np.uint8)
        part = part.reshape(-1, values)
        if values % WORD:
            part = np.pad(part, ((0, 0), (0, words * WORD - values)))
        found[start : start + step] = (part.view(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
    return found


def _digest(sample: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()
