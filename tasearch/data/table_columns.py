"""Columns of a table: of any type in a file, then of float64 or of text, with null for a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasearch.config.data_section import DataSection
from tasearch.data.csv_lines import row_words
from tasearch.data.table_notices import is_number
from tasearch.errors import DataError, quoted, shown

NUMBER, TEXT = pa.float64(), pa.string()


def as_feature(column: Any, category: bool, where: str) -> Any:
    """A column as float64 or as text, or as it is if it has no values.

    Args:
        column: The column as the file has it.
        category: Whether numbers are categories.
        where: The place of the column, for messages.
    """
    found = column.type
    if pa.types.is_dictionary(found):
        return as_feature(column.dictionary_decode(), category, where)
    if pa.types.is_null(found):
        return column
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        made = pc.utf8_trim_whitespace(column.cast(TEXT))
    elif category and (pa.types.is_integer(found) or pa.types.is_boolean(found)):
        made = column.cast(TEXT)
    elif category and pa.types.is_floating(found):  # pandas' integers with gaps
        gaps = pc.if_else(pc.is_nan(column), None, column)
        if not pc.all(pc.equal(gaps, pc.round(gaps))).as_py():
            raise DataError(f"{where}: data.categories: should hold whole numbers or text")
        made = gaps.cast(pa.int64()).cast(TEXT)
    elif pa.types.is_binary(found):
        raise DataError(f"{where}: holds text that is not UTF-8; save the file in UTF-8")
    elif pa.types.is_boolean(found):
        made = column.cast(pa.uint8()).cast(NUMBER)
    elif pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found):
        made = column.cast(NUMBER, safe=False)
    else:
        raise DataError(
            f"{where}: should hold numbers or text, holds {shown(found)}; bring it as numbers, or "
            f"name it in data.drop"
        )
    return made


def of_kind(column: Any, kind: Any, where: str, file: Path, section: DataSection) -> Any:
    """A column of float64 or of text, as that of the training part is.

    Args:
        column: The column, from `as_feature`.
        kind: What it must be; None for the training part, which decides it.
        where: The place of the column, for messages.
        file: Its file.
        section: The `[data]` section.
    """
    if pa.types.is_null(column.type):
        if kind is None:
            raise DataError(f"{where}: has no value in the training part; name it in data.drop")
        return column.cast(kind)
    if kind is not None and column.type != kind:
        words = {NUMBER: "numbers", TEXT: "text"}
        raise DataError(
            f"{where}: should hold {words[kind]} as in the training part, holds "
            f"{words[column.type]}{_first_text(column, file, section)}"
        )
    return column


def _first_text(column: Any, file: Path, section: DataSection) -> str:
    """The first text of a column that should hold numbers, as the end of a message."""
    if column.type != TEXT:
        return ""
    places = enumerate(column.to_pylist())
    found = next(((row, text) for row, text in places if text and not is_number(text)), None)
    if found is None:
        return ""
    return f": {quoted(found[1])} in {row_words(file, found[0], section.source)}"


def with_gaps(column: Any, section: DataSection) -> Any:
    """A column whose missing values are null."""
    if column.type == NUMBER:
        return pc.if_else(pc.is_nan(column), None, column)
    words = pa.array(["", *section.missing])
    return pc.if_else(pc.is_in(column, words), None, column)
