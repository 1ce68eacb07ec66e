"""Named arrays in a temporary file, which processes map into memory: all of them share its pages.

The file is a sequence of `.npy` arrays, a name before each array, all of them aligned.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

ALIGNED = 64  # bytes of which each array's place is a multiple; numpy's headers fill so many
NAME = "<U16"
SUFFIX = ".arrays"  # of a file with a name
CHUNK = 2**24  # bytes of samples that are gathered at a time

# Linux lets other processes open a file without a name, which is gone whenever its owner ends.
UNNAMED = Path("/proc/self/fd").is_dir()


class ArrayFile:
    """A temporary file of arrays, which exists as long as its owner keeps it open.

    Args:
        folder: The folder that it is in; None for that of temporary files.
        named: Whether the file has a name in this folder, for other machines that see it too.

    Attributes:
        path: Path at which processes of the same user can read the file.

    Raises:
        OSError: There is no such folder, or no room.
    """

    def __init__(self, folder: Path | None = None, *, named: bool = False) -> None:
        named = named or not UNNAMED
        self._own(_temporary_file(folder, named), named)
        self.names: list[str] = []

    @classmethod
    def adopt(cls, path: str) -> ArrayFile:
        """Become an owner of the file at `path`, so that it outlives the process that wrote it.

        Raises:
            OSError: The file is gone.
        """
        adopted = cls.__new__(cls)
        adopted._own(open(path, "rb", buffering=0), not UNNAMED)  # noqa: SIM115, PTH123
        return adopted

    def add(
        self,
        name: str,
        array: np.ndarray,
        rows: np.ndarray | None = None,
        behind: np.ndarray | None = None,
    ) -> np.ndarray:
        """Append an array; it is gathered some rows at a time.

        Args:
            name: Its name.
            array: The array, of any shape.
            rows: Numbers of the rows to take, in their order; None for the whole array.
            behind: More rows, which follow those in the same array; None for no more.

        Returns:
            The array as it is in the file, mapped.

        Raises:
            OSError: The disk is full.
        """
        stream = self._file
        shape = array.shape if rows is None else (len(rows), *array.shape[1:])
        if behind is not None:
            shape = (shape[0] + len(behind), *shape[1:])
        np.lib.format.write_array(stream, np.array(name, dtype=NAME))
        header = {
            "descr": np.lib.format.dtype_to_descr(array.dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        if array.ndim == 0:
            stream.write(array.tobytes())
        else:
            for part, numbers in ((array, rows), (behind, None)):
                for taken in () if part is None else _some_rows(part, numbers):
                    stream.write(taken.tobytes())
        stream.write(bytes(-stream.tell() % ALIGNED))
        stream.flush()
        self.names.append(name)
        return _mapped(stream, array.dtype, shape, start)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
        if self._named:
            with contextlib.suppress(OSError):  # on Windows, while a worker reads it
                Path(self.path).unlink()

    def _own(self, file: IO[bytes], named: bool) -> None:
        self._file, self._named = file, named
        self.path = str(file.name) if named else f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _some_rows(array: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """The rows of an array, or those of some numbers, some at a time."""
    step = max(CHUNK * len(array) // max(array.nbytes, 1), 1)
    for i in range(0, len(array) if rows is None else len(rows), step):
        yield array[i : i + step] if rows is None else array[rows[i : i + step]]


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an `ArrayFile` by name, mapped; what is written to them changes no file.

    Raises:
        OSError: The file is gone.
    """
    found = {}
    with open(path, "rb") as stream:  # noqa: PTH123
        end = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        while stream.tell() < end:
            name = str(np.lib.format.read_array(stream))
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            start = stream.tell()
            found[name] = _mapped(stream, dtype, shape, start)
            after = start + found[name].nbytes
            stream.seek(after + -after % ALIGNED)  # to map has moved the place
    return found


def _temporary_file(folder: Path | None, named: bool) -> IO[bytes]:
    if not named:
        return tempfile.TemporaryFile(dir=folder)
    # deleted by `close`: its writer may end before the process that adopts it
    return tempfile.NamedTemporaryFile(dir=folder, suffix=SUFFIX, delete=False)


def _mapped(stream: IO[bytes], dtype: np.dtype, shape: tuple[int, ...], start: int) -> np.ndarray:
    """An array of a file, mapped: pages are shared until they are written to."""
    return np.asarray(np.memmap(stream, dtype, "c", start, shape))
