"""Tables of numbers and categories: CSV files, and parquet files without images.

A column of numbers stays one; text, and what `data.categories` names, is a category. Spaces around
text are dropped. What is empty, not a number, or one of `data.missing` is missing. The training
part decides what a column is; other parts must have it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.data.columns import check_names, labels_of
from tasearch.data.csv_lines import separator_of
from tasearch.data.encoded import Warn
from tasearch.data.part_files import files_by_part, reading, unlabelled_files
from tasearch.data.table_columns import TEXT, as_feature, of_kind, with_gaps
from tasearch.data.table_notices import warn_of_numbers
from tasearch.errors import DataError, quoted, shown

SUFFIXES = {"csv": ".csv", "parquet": ".parquet"}  # by source


@dataclass(frozen=True, kw_only=True)
class TablePart:
    """The rows of one part.

    Args:
        rows: The columns of features, each of float64 or string; null is missing.
        labels: Labels (rows,), as the file has them.
    """

    rows: pa.Table
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A table as a source gives it.

    Args:
        parts: The parts that it has by name, "train" first.
        unlabelled: Rows without labels, like those of a part; None if there are none.
    """

    parts: Mapping[str, TablePart]
    unlabelled: pa.Table | None = None


def is_table(section: DataSection, root: str) -> bool:
    """Whether parquet files are tables: without a column of bytes, and none that is named "image".

    Args:
        section: The `[data]` section of the study file.
        root: Folder that its path is relative to.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    if section.image is not None:
        return False
    assert section.path is not None
    file, *_ = files_by_part(Path(root) / section.path, section.path)["train"]
    with reading(file, "is no readable parquet file"), open_regular(file) as stream:
        schema = pq.ParquetFile(stream).schema_arrow
    held = any(_holds_bytes(field.type) for field in schema)
    return not held and "image" not in schema.names


def _holds_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_struct(kind)
    )


def load(section: DataSection, root: str, progress: object, warn: Warn) -> Tables:
    """The source "csv": one file, or a folder's files train*, validation* and test*.

    Args:
        section: The `[data]` section of the study file, with the path and the columns.
        root: Folder that the path is relative to.
        progress: Not used: nothing is decoded.
        warn: Called with each notice for the user.

    Raises:
        DataError: A file, a column or a row breaks a rule; the message names it.
    """
    return read_tables(section, root, warn)


def read_tables(section: DataSection, root: str, warn: Warn) -> Tables:
    """Read a table, or a folder's tables.

    Args:
        section: The `[data]` section of the study file, with the path and the columns.
        root: Folder that the path is relative to.
        warn: Called with each notice for the user.

    Raises:
        DataError: A file, a column or a row breaks a rule; the message names it.
    """
    assert section.path is not None
    suffix = SUFFIXES[section.source]
    files = files_by_part(Path(root) / section.path, section.path, suffix)
    kinds: dict[str, Any] = {}  # of the training part's columns
    parts = {}
    for part in ("train", *(part for part in files if part != "train")):
        read = [_read(file, section, kinds) for file in files[part]]
        rows = pa.concat_tables([each.rows for each in read])
        labels = np.concatenate([each.labels for each in read])
        parts[part] = TablePart(rows=rows, labels=labels)
        if part == "train":
            warn_of_numbers(rows, section.categories, warn)
    if section.unlabelled is None:
        return Tables(parts=parts)
    given = unlabelled_files(Path(root) / section.unlabelled, section.unlabelled, suffix)
    unlabelled = []
    for file in given:
        table = READERS[section.source](file, section, kinds)
        check_names(file, table)
        unlabelled.append(_rows(table, file, section, kinds))
    return Tables(parts=parts, unlabelled=pa.concat_tables(unlabelled))


def _read(file: Path, section: DataSection, kinds: dict[str, Any]) -> TablePart:
    """The rows of one file, and their labels.

    Args:
        file: Its path.
        section: The `[data]` section.
        kinds: Kinds of the columns of features by name; found by the first file, which fills it.
    """
    table = READERS[section.source](file, section, {**kinds})
    asked = [("data.label", section.label)]
    asked += [("data.drop", name) for name in section.drop]
    asked += [("data.categories", name) for name in section.categories]
    check_names(file, table, asked)
    rows = _rows(table, file, section, kinds)
    labels = labels_of(table, section.label, file, section.source)
    return TablePart(rows=rows, labels=labels)


def _rows(table: pa.Table, file: Path, section: DataSection, kinds: dict[str, Any]) -> pa.Table:
    """The columns of features of one file; see `_read`."""
    if table.num_rows == 0:
        raise DataError(f"{shown(file)}: has no rows")
    left_out = {section.label, *section.drop}
    names = [name for name in table.column_names if name not in left_out]
    if not names:
        raise DataError(f"{shown(file)}: has no column besides {quoted(section.label)}")
    if kinds and {*names} != {*kinds}:
        missing, more = sorted({*kinds} - {*names}), sorted({*names} - {*kinds})
        found = f"lacks {quoted(missing[0])}" if missing else f"has also {quoted(more[0])}"
        raise DataError(f"{shown(file)}: should have the columns of the training part, {found}")
    columns = {}
    for name in kinds or names:
        where = f"{shown(file)}: column {quoted(name)}"
        column = table.column(name).combine_chunks()
        made = as_feature(column, name in section.categories, where)
        columns[name] = of_kind(made, kinds.get(name), where, file, section)
        columns[name] = with_gaps(columns[name], section)
    kinds.update({name: column.type for name, column in columns.items()})
    return pa.table(columns)


def _read_csv(file: Path, section: DataSection, kinds: Mapping[str, Any]) -> pa.Table:
    """A CSV file with a head; numbers are found by their looks.

    A column whose kind is known is read as that kind.
    """
    with reading(file), open_regular(file) as stream:
        return pyarrow.csv.read_csv(
            stream, parse_options=_parsing(stream), convert_options=_converting(section, kinds)
        )


def _converting(section: DataSection, kinds: Mapping[str, Any]) -> Any:
    """What kinds of columns the values of a CSV file become."""
    text = dict.fromkeys((*section.categories, *(n for n, k in kinds.items() if k == TEXT)), TEXT)
    return pyarrow.csv.ConvertOptions(
        column_types=text, null_values=["", *section.missing], strings_can_be_null=True
    )


def _parsing(stream: BinaryIO) -> Any:
    """How the lines of a CSV file become values."""
    return pyarrow.csv.ParseOptions(delimiter=separator_of(stream), newlines_in_values=True)


def csv_head(file: Path, section: DataSection) -> pa.Table:
    """The first rows of a CSV file, of which the beginning alone is read.

    Args:
        file: Its path.
        section: The `[data]` section of the study file.

    Raises:
        DataError: It cannot be read.
    """
    with (
        reading(file),
        open_regular(file) as stream,
        pyarrow.csv.open_csv(
            stream, parse_options=_parsing(stream), convert_options=_converting(section, {})
        ) as reader,
    ):
        rows = next(iter(reader), None)
        return reader.schema.empty_table() if rows is None else pa.Table.from_batches([rows])


def _read_parquet(file: Path, section: DataSection, kinds: Mapping[str, Any]) -> pa.Table:
    with reading(file), open_regular(file) as stream:
        return pq.ParquetFile(stream, page_checksum_verification=True).read()


Reader = Callable[[Path, DataSection, Mapping[str, Any]], pa.Table]
READERS: dict[str, Reader] = {"csv": _read_csv, "parquet": _read_parquet}
