"""A parquet file of encoded images and their labels, read in batches of rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.data.part_files import reading
from tasearch.errors import DataError, nearest, shown

ROWS, BYTES = 512, 2**25  # largest batch, in rows and in stored bytes
IMAGES = "encoded images: binary, or a struct of bytes and path"

LABELS = (
    ("integers", pa.types.is_integer),
    ("booleans", pa.types.is_boolean),
    ("strings", pa.types.is_string),
    ("strings", pa.types.is_large_string),
    ("strings", pa.types.is_string_view),
)

Stamp = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A parquet file and its columns.

    Args:
        file: Path of the file.
        image: Name of the column of encoded images.
        label: Name of the column of labels; None where samples have none.
        classes: What labels are: "integers", "booleans" or "strings".
        rows: Number of rows, as the file states it.
        batch: Number of rows to read at a time.
        digest: SHA-256 of the file.
        stamp: Device, inode, size in bytes, and time of the last change of the file.
    """

    file: Path
    image: str
    label: str | None
    classes: str
    rows: int
    batch: int
    digest: bytes
    stamp: Stamp

    def batches(self) -> Iterator[tuple[int, list[bytes | None], np.ndarray]]:
        """The file in batches: (number of the first row, encoded images, labels).

        Labels are int64, bool or strings (rows,); empty strings where samples have none.

        Raises:
            DataError: The file cannot be read or has changed, or a label is missing or too large.
        """
        row = 0
        with reading(self.file), open_regular(self.file) as stream:
            self._same(stream)
            table = pq.ParquetFile(stream, page_checksum_verification=True)
            columns = [self.image, *filter(None, [self.label])]
            for batch in table.iter_batches(self.batch, columns=columns):
                images = _plain(batch.column(self.image))
                if pa.types.is_struct(images.type):
                    images = pc.struct_field(images, "bytes")
                yield row, images.to_pylist(), self._labels(batch, row)
                row += batch.num_rows
            self._same(stream)
        if row != self.rows:
            raise DataError(f"{self.file}: says that it has {self.rows:,} rows, has {row:,}")

    def _same(self, stream: BinaryIO) -> None:
        if _stamp(stream) != self.stamp:
            raise DataError(f"{self.file}: changed while it was read; start again")

    def _labels(self, batch: Any, row: int) -> np.ndarray:
        if self.label is None:
            return np.zeros(batch.num_rows, dtype=np.str_)
        column = _plain(batch.column(self.label))
        if column.null_count:
            missing = row + column.is_valid().to_pylist().index(False)
            raise DataError(f"{self.file}: row {missing}: has no label")
        if self.classes == "strings":
            return np.array(column.to_pylist(), dtype=np.str_)
        y: np.ndarray = column.to_numpy(zero_copy_only=False)
        if self.classes == "booleans":
            return y
        if len(y) and y.max() >= 2**63:
            raise DataError(
                f"{self.file}: row {row + int(y.argmax())}: the label should be below 2**63, "
                f"found {y.max()}"
            )
        return y.astype(np.int64)

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{shown(self.file)}: row {row}"


def read_shard(file: Path, section: DataSection, *, labelled: bool = True) -> Shard:
    """Digest a parquet file and find its columns.

    Args:
        file: Path of the file.
        section: The `[data]` section of the study file, which may name the columns.
        labelled: Whether it has labels.

    Raises:
        DataError: The file cannot be read as parquet, or has no such columns.
    """
    with reading(file, "is no readable parquet file"), open_regular(file) as stream:
        stamp = _stamp(stream)
        digest = hashlib.file_digest(stream, "sha256").digest()
        stream.seek(0)
        table = pq.ParquetFile(stream)
        schema, label, classes = table.schema_arrow, section.label, "strings"
        image = _image_column(file, schema, section)
        if labelled:
            classes = _classes(file, schema, label)
        rows = table.metadata.num_rows
        groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if rows != sum(group.num_rows for group in groups):
            raise DataError(f"{shown(file)}: is no readable parquet file: it is damaged")
    batch = min(max(BYTES * max(rows, 1) // max(size, 1), 1), ROWS)
    return Shard(
        file=file,
        image=image,
        label=label if labelled else None,
        classes=classes,
        rows=rows,
        batch=batch,
        digest=digest,
        stamp=stamp,
    )


def _stamp(stream: BinaryIO) -> Stamp:
    facts = os.fstat(stream.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _image_column(file: Path, schema: Any, section: DataSection) -> str:
    """The name of the column of images."""
    structs = [f.name for f in schema if _holds_images(f.type) and pa.types.is_struct(f.type)]
    fitting = structs or [f.name for f in schema if _holds_images(f.type)]
    image = section.image or (fitting[0] if len(fitting) == 1 else None)
    if image is None:
        found = f"found {fitting}" if fitting else f"found columns {schema.names}"
        raise DataError(f"{file}: should have one column of {IMAGES}, {found}; data.image names it")
    _check_there(file, schema, "data.image", image)
    kind = schema.field(image).type
    if not _holds_images(kind):
        raise DataError(f"{file}: column {image!r} should hold {IMAGES}; holds {shown(kind)}")
    return image


def _classes(file: Path, schema: Any, label: str) -> str:
    """What labels are."""
    _check_there(file, schema, "data.label", label)
    kind = schema.field(label).type
    classes = next((name for name, is_kind in LABELS if is_kind(_decoded(kind))), None)
    if classes is None:
        raise DataError(
            f"{file}: column {label!r} should hold classes: integers, booleans or strings; "
            f"holds {shown(kind)}"
        )
    return classes


def _check_there(file: Path, schema: Any, key: str, name: str) -> None:
    """Refuse a column that is not there, or more than once."""
    if name not in schema.names:
        raise DataError(f"{file}: {key}: no column {name!r}{nearest(name, schema.names)}")
    if schema.names.count(name) > 1:
        raise DataError(f"{file}: {key}: column {name!r} is there more than once")


def _holds_images(kind: Any) -> bool:
    """Whether a column of this type may hold encoded images."""
    kind = _decoded(kind)
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def _decoded(kind: Any) -> Any:
    """The type of a column's values, also if the column is dictionary-encoded."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(column: Any) -> Any:
    """A column without dictionary encoding."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
