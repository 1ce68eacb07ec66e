"""Decoding the images of parquet files, in threads, into arrays on disk, in the files' order."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasearch.data.images import decode, strictly
from tasearch.data.shards import Shard
from tasearch.errors import DataError

Progress = Callable[[int, int], None]  # called with the images decoded so far, and all there are

THREADS = 4  # Pillow releases the GIL while it decodes
PIECE = 2**24  # bytes of pixels that a thread decodes in one task


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Some decoded images.

    Args:
        pixels: Pixels, uint8 (samples, channels, height, width); one channel if all are grey.
        colour: A message that names the first colour image; None if all are grey.
    """

    pixels: np.ndarray
    colour: str | None


class Decoding:
    """Decodes the images of parquet files into arrays on disk.

    Args:
        parts: Files by part, "train" among them.
        background: Name of the colour behind transparent pixels.
        progress: Function that is called with (done, total) from time to time.
    """

    def __init__(
        self, parts: Mapping[str, Sequence[Shard]], background: str, progress: Progress | None
    ) -> None:
        self._parts, self._background, self._progress = parts, background, progress
        self._rows = {part: sum(s.rows for s in shards) for part, shards in parts.items()}
        self._total, self._done = sum(self._rows.values()), 0
        self._size: tuple[int, ...] = ()  # height and width of the first image, and so of all
        self._channels = 1  # of the training set, once it is decoded

    def write(self, folder: Path) -> None:
        """Write `x_<part>.npy` and `y_<part>.npy` of each part.

        Args:
            folder: Folder to write to.

        Raises:
            DataError: An image or a label breaks a rule.
            OSError: The folder cannot be written.
        """
        with strictly(), ThreadPoolExecutor(THREADS) as pool:
            for part in sorted(self._parts, key=lambda part: part != "train"):
                if not self._rows[part]:
                    raise DataError(f"{self._parts[part][0].file}: has no rows")
                self._write(part, folder, pool)

    def _write(self, part: str, folder: Path, pool: ThreadPoolExecutor) -> None:
        labels: list[np.ndarray] = []
        waiting: list[Future[_Piece]] = []
        out: PixelFile | None = None
        for shard, row, images in self._pieces(part, labels):
            if out is None:
                shape = (self._rows[part], self._channels, *self._size)
                out = PixelFile(folder / f"x_{part}.npy", shape)
            waiting.append(pool.submit(self._decode, shard, row, images))
            while len(waiting) > 2 * THREADS:
                self._append(waiting.pop(0).result(), part, out)
        assert out is not None, "a part without rows is refused"
        for piece in waiting:
            self._append(piece.result(), part, out)
        out.close()
        self._channels = out.channels
        np.save(folder / f"y_{part}.npy", np.concatenate(labels))

    def _append(self, piece: _Piece, part: str, out: PixelFile) -> None:
        if part != "train" and piece.colour is not None and self._channels == 1:
            raise DataError(f"{piece.colour}, but all images of the training part are grey")
        out.add(piece.pixels)
        self._done += len(piece.pixels)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _pieces(
        self, part: str, labels: list[np.ndarray]
    ) -> Iterator[tuple[Shard, int, list[bytes | None]]]:
        """A part as (file, number of the first row, images); its labels are added to `labels`."""
        for shard in self._parts[part]:
            for row, images, y in shard.batches():
                labels.append(y)
                if not self._size and images:
                    self._size = self._decode(shard, row, images[:1]).pixels.shape[2:]
                step = max(PIECE // (3 * math.prod(self._size)), 1)
                for start in range(0, len(images), step):
                    yield shard, row + start, images[start : start + step]

    def _decode(self, shard: Shard, row: int, images: list[bytes | None]) -> _Piece:
        decoded: list[np.ndarray] = []
        colour = None
        for i, blob in enumerate(images):
            where = f"{shard.file}: row {row + i}"
            pixels, mode = decode(blob, background=self._background, where=where)
            if self._size and pixels.shape[:2] != self._size:
                height, width = self._size
                raise DataError(
                    f"{where}: is {pixels.shape[0]}x{pixels.shape[1]} pixels, should be "
                    f"{height}x{width} as the first image is"
                )
            if pixels.ndim == 3 and colour is None:
                colour = f"{where}: is a colour image ({mode})"
            decoded.append(pixels)
        channels = 1 if colour is None else 3
        out = np.empty((len(decoded), channels, *decoded[0].shape[:2]), dtype=np.uint8)
        for i, pixels in enumerate(decoded):
            out[i] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return _Piece(pixels=out, colour=colour)


class PixelFile:
    """An `.npy` file of images that is written piece by piece.

    It has one channel until the first colour image is added. The file is not memory-mapped: on a
    full disk, writing raises an error, while writing to mapped memory would kill the process.

    Args:
        path: Path of the file.
        shape: (samples, channels, height, width) of the whole array.

    Raises:
        OSError: The disk has not enough room.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path = path
        self._samples, self.channels, *self._size = shape
        self._begin()

    def _begin(self) -> None:
        shape = (self._samples, self.channels, *self._size)
        needed, free = math.prod(shape), shutil.disk_usage(self._path.parent).free
        if needed > free:  # raised before the disk is full
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free")
        self._stream = self._path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def add(self, pixels: np.ndarray) -> None:
        """Append pixels, uint8 (samples, 1 or 3, height, width)."""
        if pixels.shape[1] > self.channels:
            self._widen()
        self._stream.write(np.ascontiguousarray(_spread(pixels, self.channels)).data)

    def close(self) -> None:
        """Close the file, which is complete now."""
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
            while block := source.read(max(PIECE // one, 1) * one):
                pixels = np.frombuffer(block, dtype=np.uint8).reshape(-1, 1, *self._size)
                self._stream.write(_spread(pixels, 3).data)
        grey.unlink()


def _spread(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels with so many channels; grey ones are repeated in each."""
    return pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)
