"""Images in parquet files, as hubs keep them: a struct of `bytes` and `path`, and a label."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from tasearch.data.cache import cached
from tasearch.errors import DataError, first_line, nearest
from tasearch.sections import DataSection

Progress = Callable[[int, int], None]  # images decoded, of so many

DECODER = 1  # raise it with every change that alters decoded images
BATCH = 512  # rows a thread decodes at a time
THREADS = 4  # Pillow lets others run while it decodes
PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
GREY, DEEP = ("1", "L", "LA"), ("I", "F")


def load(section: DataSection, root: str, progress: Progress | None = None) -> Mapping[str, Any]:
    """The parts of one file, or of a folder's files train*, validation* and test*.

    Images are uint8 (samples, channels, height, width), decoded once.

    Raises:
        DataError: naming the file and, where there is one, the row.
    """
    assert section.path is not None
    parts = _parts(Path(root) / section.path, section.path)
    columns = {file: _columns(file, section) for files in parts.values() for file in files}
    digest = hashlib.sha256(str(DECODER).encode())
    for part, files in parts.items():
        for file in files:
            digest.update(f"{part} {columns[file]}".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return cached(digest.hexdigest()[:32], _Decoding(parts, columns, progress).write)


def _parts(path: Path, given: str) -> dict[str, list[Path]]:
    """Files by part, in the order of their names."""
    if path.is_file():
        return {"train": [path]}
    if not path.is_dir():
        raise DataError(f"{path}: no such data file or folder (data.path = {given!r})")
    parts: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*.parquet")):
        word = "".join(c if c.isalpha() else " " for c in file.stem.lower()).split()
        if not word or word[0] not in PARTS:
            raise DataError(
                f"{file}: the name should begin with train, validation or test, "
                f"to tell which part it is"
            )
        parts.setdefault(PARTS[word[0]], []).append(file)
    if "train" not in parts:
        raise DataError(f"{path}: should hold train*.parquet, found {sorted(parts) or 'nothing'}")
    return parts


def _columns(file: Path, section: DataSection) -> tuple[str, str]:
    """Names of the columns of images and labels."""
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: is no readable parquet file: {first_line(error)}") from None
    structs = [
        f.name
        for f in schema
        if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0
    ]
    image = section.image or (structs[0] if len(structs) == 1 else None)
    if image is None:
        found = f"found {structs}" if structs else f"found columns {schema.names}"
        raise DataError(
            f"{file}: should have one column of images, a struct of bytes and path, {found}; "
            f"data.image names it"
        )
    for key, name, fits in (
        ("data.image", image, image in structs),
        ("data.label", section.label, section.label in schema.names),
    ):
        if name not in schema.names:
            raise DataError(f"{file}: {key}: no column {name!r}{nearest(name, schema.names)}")
        if not fits:
            raise DataError(
                f"{file}: column {name!r} should be a struct of bytes and path, "
                f"is {schema.field(name).type}"
            )
    kind = schema.field(section.label).type
    if not pa.types.is_integer(kind):
        raise DataError(f"{file}: column {section.label!r} should hold integers, holds {kind}")
    return image, section.label


class _Decoding:
    """Decodes the images of some files into arrays on disk."""

    def __init__(
        self,
        parts: dict[str, list[Path]],
        columns: dict[Path, tuple[str, str]],
        progress: Progress | None,
    ) -> None:
        self._parts, self._columns, self._progress = parts, columns, progress
        self._rows = {
            part: sum(pq.read_metadata(f).num_rows for f in files) for part, files in parts.items()
        }
        self._total, self._done = sum(self._rows.values()), 0
        self._mode = ""
        self._size = (0, 0)

    def write(self, folder: Path) -> None:
        """Write x_<part>.npy and y_<part>.npy."""
        with ThreadPoolExecutor(THREADS) as pool:
            for part in sorted(self._parts, key=lambda part: part != "train"):
                self._write(part, folder, pool)

    def _write(self, part: str, folder: Path, pool: ThreadPoolExecutor) -> None:
        if not self._rows[part]:
            raise DataError(f"{self._parts[part][0]}: has no rows")
        batches = self._batches(part)
        first = next(batches)
        if not self._mode:
            self._begin(first[0], first[2])
        channels = len(self._mode)  # "L" or "RGB"
        shape = (self._rows[part], channels, *self._size)
        x = np.lib.format.open_memmap(
            folder / f"x_{part}.npy", mode="w+", dtype=np.uint8, shape=shape
        )
        labels = []
        waiting: list[Any] = []

        def settle(limit: int) -> None:
            while len(waiting) > limit:
                self._done += waiting.pop(0).result()
                if self._progress is not None:
                    self._progress(self._done, self._total)

        start = 0
        for file, row, images, y in _chain(first, batches):
            labels.append(y)
            waiting.append(pool.submit(self._decode, file, row, images, x[start:]))
            start += len(images)
            settle(4 * THREADS)
        settle(0)
        x.flush()
        np.save(folder / f"y_{part}.npy", np.concatenate(labels))

    def _batches(self, part: str) -> Iterator[tuple[Path, int, list[Any], np.ndarray]]:
        """(file, number of its first row, images, labels), in order."""
        for file in self._parts[part]:
            image, label = self._columns[file]
            row = 0
            try:
                for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=[image, label]):
                    y = batch.column(label)
                    if y.null_count:
                        missing = row + y.is_valid().to_pylist().index(False)
                        raise DataError(f"{file}: row {missing}: has no label")
                    yield file, row, batch.column(image).to_pylist(), y.to_numpy()
                    row += len(y)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file}: cannot be read: {first_line(error)}") from None

    def _begin(self, file: Path, images: list[Any]) -> None:
        """The first image of the training part says what all are like."""
        image = _open(images[0], file, 0)
        self._mode = "L" if image.mode in GREY else "RGB"
        self._size = (image.height, image.width)

    def _decode(self, file: Path, row: int, images: list[Any], out: np.ndarray) -> int:
        for i, content in enumerate(images):
            image = _open(content, file, row + i)
            if self._mode == "L" and image.mode not in GREY:
                raise DataError(
                    f"{file}: row {row + i}: is a colour image ({image.mode}) among grey ones"
                )
            if (image.height, image.width) != self._size:
                height, width = self._size
                raise DataError(
                    f"{file}: row {row + i}: is {image.height}x{image.width} pixels, should be "
                    f"{height}x{width} as the first image is"
                )
            pixels = np.asarray(image.convert(self._mode))
            out[i] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return len(images)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _open(content: Any, file: Path, row: int) -> Image.Image:
    blob = content.get("bytes") if content else None
    if not blob:
        raise DataError(f"{file}: row {row}: has no bytes of an image")
    try:
        image = Image.open(io.BytesIO(blob))
        image.load()
    except Exception as error:  # Pillow raises anything from SyntaxError to struct.error
        reason = "is no image that Pillow knows"
        if not isinstance(error, UnidentifiedImageError):  # whose words hold an address
            reason = f"cannot be decoded: {first_line(error)}"
        raise DataError(f"{file}: row {row}: {reason}") from None
    if image.mode.startswith(DEEP):
        raise DataError(
            f"{file}: row {row}: has more than 8 bits a channel (mode {image.mode}); "
            f"bring such images as arrays"
        )
    return image
