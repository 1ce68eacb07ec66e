"""A data set from the process that has loaded it to its workers, who so need no source of it."""

from __future__ import annotations

import os
import tempfile
from typing import IO

import numpy as np

from tasearch.data.arrays import Dataset, Split
from tasearch.errors import DataError


class SharedDataset:
    """A data set in a file without a name, which is gone when this process is.

    Args:
        data: to hand over.

    Attributes:
        path: where processes of the same user find it, as long as it is not closed.

    Raises:
        DataError: where there is no room for it.
    """

    def __init__(self, data: Dataset) -> None:
        try:
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            np.savez(
                file,
                x_train=data.train.x,
                y_train=data.train.y,
                x_val=data.validation.x,
                y_val=data.validation.y,
                num_classes=data.num_classes,
                mean=data.mean,
                std=data.std,
                fingerprint=data.fingerprint,
            )
        except OSError as error:
            raise DataError(
                f"the data cannot be handed to the workers: {error.strerror or error} (TMPDIR says "
                f"where such files are); --workers 1 with built-in models and losses needs none"
            ) from None
        self._hold(file)

    @classmethod
    def adopt(cls, path: str) -> SharedDataset:
        """The one at `path`, which stays when the process that has made it ends."""
        made = SharedDataset.__new__(SharedDataset)
        made._hold(open(path, "rb", buffering=0))  # noqa: SIM115, PTH123
        return made

    def close(self) -> None:
        self._file.close()

    def _hold(self, file: IO[bytes]) -> None:
        self._file = file
        self.path = f"/proc/{os.getpid()}/fd/{file.fileno()}"


def taken_over(path: str) -> Dataset:
    """The data set of a `SharedDataset`."""
    with np.load(path) as arrays:
        return Dataset(
            train=Split(x=arrays["x_train"], y=arrays["y_train"]),
            validation=Split(x=arrays["x_val"], y=arrays["y_val"]),
            num_classes=int(arrays["num_classes"]),
            mean=arrays["mean"],
            std=arrays["std"],
            fingerprint=str(arrays["fingerprint"]),
        )
