"""Decoding encoded images, in threads, into arrays on disk, in the order of their source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.data.images import UnreadableImage, decode, fitted, strictly
from tasearch.data.pixel_file import PixelFile
from tasearch.errors import DataError, quoted

Progress = Callable[[int, int], None]  # called with the images decoded so far, and all there are
Encoded = Sequence[bytes | None]  # contents of image files; None where one is missing

THREADS = 4  # Pillow releases the GIL while it decodes
PIECE = 2**24  # bytes of pixels that a thread decodes in one task


class Unreadable(DataError):
    """Images cannot be decoded, and the study does not leave them out."""


class SizesDiffer(DataError):
    """Images have several sizes, and the study does not resize them.

    Args:
        message: The message.
        sizes: Heights and widths of all images, as far as they are known.
    """

    def __init__(self, message: str, sizes: Set[tuple[int, int]] = frozenset()) -> None:
        super().__init__(message)
        self.sizes = sizes


class Images(Protocol):
    """Encoded images and their labels, in an order that is always the same."""

    @property
    def rows(self) -> int:
        """Number of images."""

    def batches(self) -> Iterator[tuple[int, Encoded, np.ndarray]]:
        """All images in batches: (number of the first one, encoded images, labels)."""

    def where(self, row: int) -> str:
        """The place of an image, for messages."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Encoded images that a thread decodes at once.

    Args:
        source: Source of the images.
        row: Number of the first image in its source.
        offset: Number of images of the part that are before this source.
        images: Encoded images.
        labels: Their labels.
    """

    source: Images
    row: int
    offset: int
    images: Encoded
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """What a task gives.

    Args:
        pixels: Pixels, uint8 (samples, channels, height, width); one channel if all are grey.
        labels: Labels of these samples.
        colour: A message that names the first colour image; None if all are grey.
        lost: Labels of images that cannot be decoded.
        unreadable: Numbers of these images in their part, and the reasons.
    """

    pixels: np.ndarray
    labels: np.ndarray
    colour: str | None
    lost: np.ndarray
    unreadable: Mapping[int, str]


class Decoding:
    """Decodes images into arrays on disk.

    Args:
        parts: Sources of images by part, "train" among them.
        section: The `[data]` section of the study file, which says how to decode.
        progress: Function that is called with (done, total) from time to time.
    """

    def __init__(
        self,
        parts: Mapping[str, Sequence[Images]],
        section: DataSection,
        progress: Progress | None,
    ) -> None:
        self._parts, self._section, self._progress = parts, section, progress
        self._rows = {part: sum(s.rows for s in sources) for part, sources in parts.items()}
        self._total, self._done = sum(self._rows.values()), 0
        self._size: tuple[int, ...] = section.size or ()  # else that of the first image
        self._first = ""  # place of that image
        self._channels = 3 if section.channels == "rgb" else 1  # then those of the training set

    def write(self, folder: Path) -> dict[str, dict[int, str]]:
        """Write `x_<part>.npy` and `y_<part>.npy` of each part.

        Images that cannot be decoded are left out; `unreadable_<part>.npy` has their numbers and
        `reasons_<part>.npy` the reasons, if there are any.

        Args:
            folder: Folder to write to.

        Returns:
            By part the numbers of the images that cannot be decoded, and the reasons.

        Raises:
            SizesDiffer: Images have several sizes.
            DataError: An image or a label breaks a rule, or no image of a class can be decoded.
            OSError: The folder cannot be written.
        """
        with strictly(), ThreadPoolExecutor(THREADS) as pool:
            order = sorted(self._parts, key=lambda part: part != "train")
            return {part: self._write(part, folder, pool) for part in order}

    def _write(self, part: str, folder: Path, pool: ThreadPoolExecutor) -> dict[int, str]:
        labels: list[np.ndarray] = []
        lost: list[np.ndarray] = []
        unreadable: dict[int, str] = {}
        out: PixelFile | None = None
        for piece in self._pieces(part, pool):
            if out is None and len(piece.pixels):
                shape = (self._rows[part], self._channels, *self._size)
                out = PixelFile(folder / f"x_{part}.npy", shape)
            if out is not None:
                self._append(piece, part, out)
            labels.append(piece.labels)
            lost.append(piece.lost)
            unreadable |= piece.unreadable
            self._done += len(piece.labels) + len(piece.lost)
            if self._progress is not None:
                self._progress(self._done, self._total)
        y = np.concatenate(labels)
        self._check_classes(part, y, np.concatenate(lost), unreadable)
        assert out is not None, "some class has an image"
        out.close()
        self._channels = out.channels
        np.save(folder / f"y_{part}.npy", y)
        if unreadable:
            np.save(folder / f"unreadable_{part}.npy", np.array([*unreadable]))
            np.save(folder / f"reasons_{part}.npy", np.array([*unreadable.values()]))
        return unreadable

    def _check_classes(
        self, part: str, y: np.ndarray, lost: np.ndarray, unreadable: Mapping[int, str]
    ) -> None:
        """Refuse a part that has lost a class.

        Args:
            part: Name of the part.
            y: Labels of the images that are decoded.
            lost: Labels of those that cannot be.
            unreadable: Numbers of the latter in their part, and the reasons.

        Raises:
            DataError: No image of a class can be decoded.
        """
        for label in np.setdiff1d(lost, y):
            row, reason = [*unreadable.items()][int((lost == label).argmax())]
            raise DataError(
                f"{place(self._parts[part], row)}: {reason}; no image of class "
                f"{quoted(str(label))} in the {part} part can be decoded"
            )

    def _append(self, piece: _Piece, part: str, out: PixelFile) -> None:
        if part != "train" and piece.colour is not None and self._channels == 1:
            raise DataError(
                f"{piece.colour}, but all images of the training part are grey; data.channels "
                f"makes all of one kind"
            )
        out.add(piece.pixels)

    def _pieces(self, part: str, pool: ThreadPoolExecutor) -> Iterator[_Piece]:
        """A part in pieces, which are decoded ahead, in its order."""
        waiting: list[Future[_Piece]] = []
        for task in self._tasks(part):
            waiting.append(pool.submit(self._decode, task))
            while len(waiting) > 2 * THREADS:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()

    def _tasks(self, part: str) -> Iterator[_Task]:
        offset = 0
        for source in self._parts[part]:
            for row, images, labels in source.batches():
                if not self._size:
                    self._find_size(source, row, images)
                step = max(PIECE // (3 * math.prod(self._size)), 1)
                for i in range(0, len(images), step):
                    taken = slice(i, i + step)
                    yield _Task(
                        source=source,
                        row=row + i,
                        offset=offset,
                        images=images[taken],
                        labels=labels[taken],
                    )
            offset += source.rows

    def _find_size(self, source: Images, row: int, images: Encoded) -> None:
        """Take the size of the first image that can be decoded for that of all."""
        for i, blob in enumerate(images):
            where = source.where(row + i)
            try:
                pixels, _ = decode(blob, background=self._section.background, where=where)
            except UnreadableImage:
                continue
            self._size, self._first = pixels.shape[:2], where
            return

    def _decode(self, task: _Task) -> _Piece:
        kept: list[np.ndarray] = []
        places: list[int] = []
        unreadable: dict[int, str] = {}
        colour = None
        for i, blob in enumerate(task.images):
            where = task.source.where(task.row + i)
            try:
                pixels, mode = self._pixels(blob, where)
            except UnreadableImage as error:
                unreadable[task.offset + task.row + i] = error.reason
                continue
            if pixels.ndim == 3 and colour is None:
                colour = f"{where}: is a colour image ({mode})"
            kept.append(pixels)
            places.append(i)
        out = np.empty((len(kept), 1 if colour is None else 3, *self._size), dtype=np.uint8)
        for i, pixels in enumerate(kept):
            out[i] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return _Piece(
            pixels=out,
            labels=task.labels[places],
            colour=colour,
            lost=np.delete(task.labels, places),
            unreadable=unreadable,
        )

    def _pixels(self, blob: bytes | None, where: str) -> tuple[np.ndarray, str]:
        """The pixels of an image with the size of all, and the mode that Pillow gives it."""
        section = self._section
        pixels, mode = decode(blob, background=section.background, where=where)
        pixels = fitted(pixels, size=section.size, channels=section.channels)
        if pixels.shape[:2] != self._size:
            found, first = (f"{h}x{w}" for h, w in (pixels.shape[:2], self._size))
            raise SizesDiffer(
                f"{where}: is {found} pixels (height x width), {self._first} is {first}"
            )
        return pixels, mode


def place(sources: Sequence[Images], row: int) -> str:
    """The place of an image of a part that consists of several sources, for messages."""
    for source in sources:
        if row < source.rows:
            return source.where(row)
        row -= source.rows
    raise IndexError(row)
