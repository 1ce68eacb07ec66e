"""A data set that one process has loaded, for other processes to read.

Workers read it from a temporary file, not from its source: a user's source may be slow and may
return other arrays when it is called again, and to split a built-in one anew takes scikit-learn,
whose import alone takes most of a second. They map the file, so that its pages are in memory once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tasearch.data.array_file import SUFFIX, ArrayFile, read_arrays
from tasearch.data.arrays import JOINED, UNLABELLED, Dataset, Split
from tasearch.data.ids import Tokens
from tasearch.errors import DataError, option

TOKENS, HELD_OUT = "tokens", "held_out_ids"


class SharedDataset:
    """A data set in a temporary file, which exists as long as its owner keeps it open.

    Args:
        data: The data set; if its samples are in a file, that one is used.
        folder: The folder for a file that other machines read, too; None to keep it on this one.

    Attributes:
        path: Path at which processes of the same user can read the file.

    Raises:
        DataError: There is no room for the file.
    """

    def __init__(self, data: Dataset, folder: Path | None = None) -> None:
        self._is_own = data.file is None or folder is not None
        try:
            if folder is not None:
                self._file = _for_machines(folder)
            else:
                self._file = ArrayFile() if data.file is None else data.file
        except OSError as error:
            raise sharing_failed(error) from None
        self.path = self._file.path
        try:
            for name, array in _arrays(data).items():
                if name not in self._file.names:
                    self._file.add(name, array)
        except OSError as error:
            self.close()
            raise sharing_failed(error) from None

    @classmethod
    def adopt(cls, path: str) -> SharedDataset:
        """Become an owner of the file at `path`, so that it outlives the process that wrote it.

        Raises:
            OSError: The file is gone.
        """
        adopted = cls.__new__(cls)
        adopted._is_own, adopted._file = True, ArrayFile.adopt(path)
        adopted.path = adopted._file.path
        return adopted

    def close(self) -> None:
        """Delete the file, unless the data set itself needs it."""
        if self._is_own:
            self._file.close()


def _for_machines(folder: Path) -> ArrayFile:
    """A file that other machines read, in a folder without those that a kill has left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"*{SUFFIX}"):
        left.unlink(missing_ok=True)
    return ArrayFile(folder, named=True)


def read_shared(path: str) -> Dataset:
    """The data set of the `SharedDataset` at a path."""
    arrays = read_arrays(path)
    joined = arrays.get(JOINED)
    if joined is not None:
        count = len(arrays["y_train"])
        arrays |= {"x_train": joined[:count], UNLABELLED: joined[count:]}
    return Dataset(
        train=_part(arrays, "train"),
        validation=_part(arrays, "val"),
        class_names=tuple(arrays["class_names"].tolist()),
        mean=arrays["mean"],
        std=arrays["std"],
        fingerprint=str(arrays["fingerprint"]),
        unlabelled=arrays.get(UNLABELLED),
        tokens=_tokens(arrays),
        held_out_ids=_bounds(arrays),
        joined=joined,
    )


def _arrays(data: Dataset) -> dict[str, np.ndarray]:
    parts = {"train": data.train, "val": data.validation}
    found = {f"x_{name}": part.x for name, part in parts.items()}
    found |= {f"y_{name}": part.y for name, part in parts.items()}
    for name, part in parts.items():
        if part.teacher is not None:
            found[f"teacher_{name}"] = part.teacher
    if data.unlabelled is not None:
        del found["x_train"]
        found[JOINED] = data.inputs
    names, fingerprint = np.array(data.class_names), np.array(data.fingerprint)
    own = {"class_names": names, "mean": data.mean, "std": data.std, "fingerprint": fingerprint}
    if data.tokens is not None:
        own[TOKENS] = np.array(json.dumps(asdict(data.tokens)))
    if data.held_out_ids is not None:
        own[HELD_OUT] = np.array(data.held_out_ids)
    return found | own


def _tokens(arrays: Mapping[str, np.ndarray]) -> Tokens | None:
    return Tokens(**json.loads(str(arrays[TOKENS]))) if TOKENS in arrays else None


def _bounds(arrays: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
    if HELD_OUT not in arrays:
        return None
    low, high = arrays[HELD_OUT].tolist()
    return low, high


def _part(arrays: Mapping[str, np.ndarray], name: str) -> Split:
    return Split(
        x=arrays[f"x_{name}"], y=arrays[f"y_{name}"], teacher=arrays.get(f"teacher_{name}")
    )


def sharing_failed(error: OSError) -> DataError:
    """The error for a data set that has no room in a file."""
    return DataError(
        f"the data cannot be shared with the workers: {error.strerror or error}; set TMPDIR to a "
        f"folder with room; with built-in models and losses one worker needs none, "
        f"{option('workers')}"
    )
