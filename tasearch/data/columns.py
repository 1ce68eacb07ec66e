"""The columns of a file: their names, and the one of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasearch.data.csv_lines import row_words
from tasearch.errors import DataError, first_line, nearest, quoted, shown


def check_names(file: Path, table: pa.Table, asked: Sequence[tuple[str, str]] = ()) -> None:
    """Refuse columns without a name, with the same name, or that are not there.

    Args:
        file: The file that has the columns.
        table: The columns.
        asked: The key of the study file and the name of each column that must be there.

    Raises:
        DataError: A column breaks a rule; the message names it.
    """
    try:
        names = list(table.column_names)
    except UnicodeDecodeError:  # pyarrow checks values, and no names
        raise DataError(
            f"{shown(file)}: the names of its columns are not UTF-8; save the file in UTF-8"
        ) from None
    for place, name in enumerate(names):
        if not name.strip():
            index = "; write it without its index, index=False in pandas" if place == 0 else ""
            raise DataError(
                f"{shown(file)}: column {place + 1} has no name in the first line{index}"
            )
        if names.count(name) > 1:
            raise DataError(f"{shown(file)}: column {quoted(name)} is there more than once")
    for key, name in asked:
        if name not in names:
            raise DataError(f"{shown(file)}: {key}: no column {quoted(name)}{nearest(name, names)}")


def labels_of(table: Any, name: str, file: Path, kind: str) -> np.ndarray:
    """The labels of a file (rows,), as it has them.

    Args:
        table: All columns of the file.
        name: Name of the column of labels.
        file: The path of the file, for messages.
        kind: "csv" or "parquet".

    Raises:
        DataError: A label is missing, or the column holds no classes.
    """
    column = table.column(name).combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    where = f"{shown(file)}: column {quoted(name)}"
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    if column.null_count:
        row = column.is_valid().to_pylist().index(False)
        raise DataError(f"{where}: has no label in {row_words(file, row, kind)}")
    try:
        values: np.ndarray = np.array(column.to_pylist())
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: holds no labels: {first_line(error)}") from None
    if values.dtype.kind == "O":
        raise DataError(f"{where}: should hold classes, holds {shown(column.type)}")
    return values
