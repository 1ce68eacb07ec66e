"""A data set that one process has loaded, for other processes to read.

Workers read it from a temporary file, not from its source: a user's source may be slow and may
return other arrays when it is called again, and to split a built-in one anew takes scikit-learn,
whose import alone takes most of a second.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from tasearch.data.arrays import Dataset, Split
from tasearch.errors import DataError

# Linux lets other processes open a file without a name, which is gone whenever its owner ends.
UNNAMED = Path("/proc/self/fd").is_dir()


class SharedDataset:
    """A data set in a temporary file, which exists as long as its owner keeps it open.

    Args:
        data: The data set.

    Attributes:
        path: Path at which processes of the same user can read the file.

    Raises:
        DataError: There is no room for the file.
    """

    def __init__(self, data: Dataset) -> None:
        try:
            self._own(_temporary_file())
        except OSError as error:
            raise _failure(error) from None
        try:
            outputs = {"train": data.train.teacher, "val": data.validation.teacher}
            given = {f"teacher_{n}": part for n, part in outputs.items() if part is not None}
            np.savez(
                self._file,
                x_train=data.train.x,
                y_train=data.train.y,
                x_val=data.validation.x,
                y_val=data.validation.y,
                class_names=np.array(data.class_names),
                mean=data.mean,
                std=data.std,
                fingerprint=data.fingerprint,
                **given,  # type: ignore[arg-type]  # numpy's own signature has a flag as well
            )
        except OSError as error:
            self.close()
            raise _failure(error) from None

    @classmethod
    def adopt(cls, path: str) -> SharedDataset:
        """Become an owner of the file at `path`, so that it outlives the process that wrote it.

        Raises:
            OSError: The file is gone.
        """
        adopted = cls.__new__(cls)
        adopted._own(open(path, "rb", buffering=0))  # noqa: SIM115, PTH123
        return adopted

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
        if not UNNAMED:
            with contextlib.suppress(OSError):  # on Windows, while a worker reads it
                Path(self.path).unlink()

    def _own(self, file: IO[bytes]) -> None:
        self._file = file
        self.path = f"/proc/{os.getpid()}/fd/{file.fileno()}" if UNNAMED else str(file.name)


def read_shared(path: str) -> Dataset:
    """The data set of the `SharedDataset` at a path."""
    with np.load(path) as arrays:
        return Dataset(
            train=_part(arrays, "train"),
            validation=_part(arrays, "val"),
            class_names=tuple(arrays["class_names"].tolist()),
            mean=arrays["mean"],
            std=arrays["std"],
            fingerprint=str(arrays["fingerprint"]),
        )


def _part(arrays: Mapping[str, np.ndarray], name: str) -> Split:
    outputs = f"teacher_{name}"
    return Split(
        x=arrays[f"x_{name}"],
        y=arrays[f"y_{name}"],
        teacher=arrays.get(outputs),
    )


def _temporary_file() -> IO[bytes]:
    if UNNAMED:
        return tempfile.TemporaryFile(buffering=0)
    # deleted by `close`: a worker that has loaded the data ends before the process that adopts them
    return tempfile.NamedTemporaryFile(buffering=0, delete=False)


def _failure(error: OSError) -> DataError:
    return DataError(
        f"the data cannot be shared with the workers: {error.strerror or error}; set TMPDIR to a "
        f"folder with room; --workers 1 with built-in models and losses needs none"
    )
