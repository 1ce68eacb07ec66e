"""The samples of the parts: copied into memory, or many of them into a file that is mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasearch.data.array_file import ArrayFile
from tasearch.data.arrays import JOINED, Split
from tasearch.data.split import Rows
from tasearch.errors import DataError

LARGE = 2**28  # bytes of samples from which on they are in a file


def take_parts(
    drawn: Mapping[str, Rows], folder: Path | None, unlabelled: np.ndarray | None = None
) -> tuple[dict[str, Split], ArrayFile | None, np.ndarray | None]:
    """The parts with their samples.

    Large ones go from the source's array to a file, some at a time, so that they are at no time in
    the memory of a process: only pages of the file are, which all processes share.

    Args:
        drawn: Where the samples are, by part.
        folder: The folder of the file; None for that of temporary files.
        unlabelled: Samples without labels, which the training set is to have behind its own; None
            if there are none.

    Returns:
        The parts, the file, which is None where they are in memory, and the array of the training
        set's samples and those without labels, if there are such.

    Raises:
        DataError: There is no room for the file.
    """
    more = {"train": unlabelled} if unlabelled is not None and "train" in drawn else {}
    size = sum(len(rows.y) * rows.source.x[0].nbytes for rows in drawn.values())
    if size + sum(x.nbytes for x in more.values()) < LARGE:
        parts = {name: rows.in_memory() for name, rows in drawn.items()}
        for name, x in more.items():
            parts[name] = replace(parts[name], x=np.concatenate([parts[name].x, x]))
        return _apart(parts, None, unlabelled)
    try:
        file = ArrayFile(folder)
        parts = {}
        for name, rows in drawn.items():
            key = JOINED if name in more else f"x_{name}"
            x = file.add(key, rows.source.x, rows.numbers, more.get(name))
            parts[name] = Split(x=x, y=rows.y, teacher=rows.teacher)
    except OSError as error:
        where = "TMPDIR" if folder is None else "TASEARCH_CACHE"
        raise DataError(
            f"the samples cannot be written to a file: {error.strerror or error}; set {where} to a "
            f"folder with room"
        ) from None
    return _apart(parts, file, unlabelled)


def _apart(
    parts: dict[str, Split], file: ArrayFile | None, unlabelled: np.ndarray | None
) -> tuple[dict[str, Split], ArrayFile | None, np.ndarray | None]:
    """What `take_parts` returns, of parts whose training set has all samples that are joined."""
    if unlabelled is None or "train" not in parts:
        return parts, file, None
    train = parts["train"]
    return parts | {"train": replace(train, x=train.x[: len(train)])}, file, train.x
