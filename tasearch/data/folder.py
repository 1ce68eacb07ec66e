"""Images in folders, one folder for each class: `<path>/train/<class>/*`, or `<path>/<class>/*`.

Beside `train` there may be `val` (or `validation`, `valid`) and `test`. The classes are the folders
of the training part, in sorted order. Files are read in sorted order of their names, which is the
same on every file system. Links are followed only to files. Hidden files and those that systems put
into folders are ignored; any other file in the folder of a class should be an image. The rules of
decoding are in `tasearch.data.images`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.config.files import read_regular
from tasearch.data.decoding import Encoded, Progress
from tasearch.data.encoded import LISTED, Warn, decoded_arrays
from tasearch.data.folder_tree import class_folders, image_files
from tasearch.errors import DataError, quoted, shown

ROWS, BYTES = 512, 2**25  # largest batch, in files and in bytes


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Image files of one part.

    Args:
        files: Paths of the files, in the order in which they are read.
        labels: Names of their classes, strings (files,).
        digests: SHA-256 of each file.
    """

    files: tuple[Path, ...]
    labels: np.ndarray
    digests: tuple[bytes, ...]

    @property
    def rows(self) -> int:
        """Number of files."""
        return len(self.files)

    def batches(self) -> Iterator[tuple[int, Encoded, np.ndarray]]:
        """All files in batches: (number of the first one, contents, labels).

        Raises:
            DataError: A file cannot be read, or has changed since its digest was made.
        """
        begin, batch, size = 0, list[bytes](), 0
        for row, (file, digest) in enumerate(zip(self.files, self.digests, strict=True)):
            content = _content(file)
            if hashlib.sha256(content).digest() != digest:
                raise DataError(f"{self.where(row)}: changed while it was read; start again")
            batch.append(content)
            size += len(content)
            if size >= BYTES or len(batch) == ROWS or row == self.rows - 1:
                yield begin, batch, self.labels[begin : row + 1]
                begin, batch, size = row + 1, [], 0

    def where(self, row: int) -> str:
        """The path of a file, for messages."""
        return shown(self.files[row])


def load(
    section: DataSection,
    root: str,
    progress: Progress | None = None,
    warn: Warn = lambda notice: None,
) -> Mapping[str, Any]:
    """The source "imagefolder": image files in folders of classes.

    Images are uint8 (samples, channels, height, width), labels are the names of their folders. They
    are decoded once, and then read from the image cache.

    Args:
        section: The `[data]` section of the study file, with the path.
        root: Folder that the path is relative to.
        progress: Function that is called with (done, total) from time to time.
        warn: Function that is called with each notice for the user.

    Raises:
        DataError: A folder or a file breaks a rule; the message names it.
    """
    assert section.path is not None
    folders = class_folders(Path(root) / section.path, section.path)
    parts = {part: _image_files(classes) for part, classes in folders.items()}
    _tell_duplicates(parts, warn)
    if section.unlabelled is not None:
        parts["unlabelled"] = _without_labels(Path(root) / section.unlabelled, section.unlabelled)
    digest = b"".join(
        f"{part} {label!r} ".encode() + one
        for part, images in parts.items()
        for label, one in zip(images.labels.tolist(), images.digests, strict=True)
    )
    sources = {part: [images] for part, images in parts.items()}
    arrays = decoded_arrays(sources, digest, section, progress, warn)
    arrays.pop("y_unlabelled", None)  # they have none
    return arrays


def _without_labels(folder: Path, given: str) -> ImageFiles:
    """The images of a folder, whose labels are empty.

    Raises:
        DataError: There is no such folder, or it holds anything but images.
    """
    where = f"(data.unlabelled = {given!r})"
    if not folder.is_dir():
        raise DataError(f"{shown(folder)}: no such data folder {where}")
    within = [e.name for e in sorted(folder.iterdir()) if e.is_dir() and e.name[0] != "."]
    if within:
        raise DataError(
            f"{shown(folder)}: should hold images alone, as they have no classes, has the folder "
            f"{quoted(within[0])} {where}"
        )
    files = tuple(image_files(folder))
    labels = np.array([""] * len(files), dtype=np.str_)
    return ImageFiles(files=files, labels=labels, digests=_digests(files))


def _image_files(classes: Mapping[str, Path]) -> ImageFiles:
    found = {name: image_files(folder) for name, folder in classes.items()}
    files = tuple(file for name in found for file in found[name])
    return ImageFiles(
        files=files,
        labels=np.array([name for name in found for _ in found[name]], dtype=np.str_),
        digests=_digests(files),
    )


def _digests(files: Sequence[Path]) -> tuple[bytes, ...]:
    """The SHA-256 of each file, one by one: threads of Python wait longer for each other."""
    return tuple(_digest(file) for file in files)


def _digest(file: Path) -> bytes:
    return hashlib.sha256(_content(file)).digest()


def _content(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror or error}") from None


def _tell_duplicates(parts: Mapping[str, ImageFiles], warn: Warn) -> None:
    """Give a notice of files with the same bytes as another one that is, or may get, elsewhere.

    A student that has seen a test image looks better than it is. Where there is one part, the split
    may part them; where there are several, only files of different parts count.
    """
    first: dict[bytes, tuple[str, int]] = {}
    pairs: list[str] = []
    for part, images in parts.items():
        for row, digest in enumerate(images.digests):
            other, place = first.setdefault(digest, (part, row))
            same = (other, place) == (part, row)
            if not same and (other != part or len(parts) == 1):
                pairs.append(f"{images.where(row)} as {parts[other].where(place)}")
    if pairs:
        listed = "; ".join(pairs[:LISTED]) + ("; ..." if len(pairs) > LISTED else "")
        what = "of another part" if len(parts) > 1 else "which the split may put into another part"
        many = "s have" if len(pairs) > 1 else " has"
        warn(f"{len(pairs):,} image{many} the same bytes as one {what}: {listed}")
