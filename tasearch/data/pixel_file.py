"""An `.npy` file of images that is written piece by piece."""

from __future__ import annotations

import errno
import math
import shutil
from pathlib import Path

import numpy as np

BLOCK = 2**24  # bytes that are read at a time where channels are added


class PixelFile:
    """An `.npy` file of images that is written piece by piece.

    It has as many channels as its shape says, until a colour image is added to grey ones. The file
    is not memory-mapped: on a full disk, writing raises an error, while writing to mapped memory
    would kill the process.

    Args:
        path: Path of the file.
        shape: (samples, channels, height, width) of the whole array; there may be fewer samples.

    Raises:
        OSError: The disk has not enough room.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path = path
        self._samples, self.channels, *self._size = shape
        self._begin()

    def _begin(self) -> None:
        self._added = 0
        shape = (self._samples, self.channels, *self._size)
        needed, free = math.prod(shape), shutil.disk_usage(self._path.parent).free
        if needed > free:  # raised before the disk is full
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free")
        self._stream = self._path.open("wb")
        self._write_header(self._samples)

    def _write_header(self, samples: int) -> None:
        shape = (samples, self.channels, *self._size)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def add(self, pixels: np.ndarray) -> None:
        """Append pixels, uint8 (samples, 1 or 3, height, width)."""
        if pixels.shape[1] > self.channels:
            self._widen()
        self._put(np.ascontiguousarray(pixels))

    def _put(self, pixels: np.ndarray) -> None:
        self._stream.write(_spread(pixels, self.channels).data)
        self._added += len(pixels)

    def close(self) -> None:
        """Close the file, which is complete now."""
        if self._added < self._samples:
            self._stream.seek(0)
            self._write_header(self._added)  # of the same length: numpy leaves room for its axis
        self._stream.close()

    def _widen(self) -> None:
        """Write the file again with three channels."""
        self._stream.close()
        grey = self._path.with_suffix(".grey")
        self._path.rename(grey)
        self.channels = 3
        self._begin()
        one = math.prod(self._size)
        with grey.open("rb") as source:
            np.lib.format.read_magic(source)
            np.lib.format.read_array_header_1_0(source)
            while block := source.read(max(BLOCK // one, 1) * one):
                pixels = np.frombuffer(block, dtype=np.uint8).reshape(-1, 1, *self._size)
                self._put(pixels)
        grey.unlink()


def _spread(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels with so many channels; grey ones are repeated in each."""
    return pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)
