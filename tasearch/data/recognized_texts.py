"""Which columns of a table are texts, and not categories."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ROWS = 1_000  # of a column that are looked at
WORDS = 4  # in the mean; categories have fewer
DISTINCT = 0.5  # share of different values; categories repeat


def text_columns(table: pa.Table) -> list[str]:
    """The names of the columns that hold texts: of several words, hardly two of them alike.

    Args:
        table: Some rows of a table.
    """
    return [name for place, name in enumerate(table.column_names) if _is_text(table.column(place))]


def pair_or_longest(table: pa.Table, names: list[str]) -> list[str]:
    """One column of texts, or two, which are a pair; of more, the one of the most words.

    Args:
        table: Some rows of a table.
        names: Names of its columns of texts.
    """
    if len(names) <= 2:
        return names
    return [max(names, key=lambda name: _words(table.column(name)))]


def _is_text(column: Any) -> bool:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    some = column.slice(0, ROWS).drop_null()
    if not len(some) or _words(some) < WORDS:
        return False
    return bool(pc.count_distinct(some).as_py() > DISTINCT * len(some))


def _words(column: Any) -> float:
    """The mean number of words of a column's first texts."""
    return fmean(len(str(text).split()) for text in column.slice(0, ROWS).to_pylist())
