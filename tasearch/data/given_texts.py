"""Texts that are given from Python: lists and arrays of strings, or of pairs of strings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasearch.data.converted import as_array
from tasearch.data.given import Given
from tasearch.data.pairs import pair_of
from tasearch.errors import DataError, quoted

FOLDER = "texts"  # of the files, in the folder of the inputs
NAMES = ("train", "validation", "test")
SINGLE, PAIR = ("text",), ("first", "second")  # names of columns


def are_texts(x: Any) -> bool:
    """Whether these are strings, or sequences of strings, and no numbers."""
    first = listed(x[:1]) if hasattr(x, "ndim") and x.ndim > 0 else x
    while isinstance(first, Sequence) and not isinstance(first, str) and len(first):
        first = first[0]
    return isinstance(first, str)


def listed(x: Any) -> Any:
    """Arrays and columns as lists; other values as they are."""
    return x.tolist() if hasattr(x, "tolist") else x


def text_columns(x: Any) -> tuple[str, ...]:
    """Names for the columns of texts: one, or two for pairs."""
    first = listed(x)[0]
    return SINGLE if isinstance(first, str) else PAIR


def text_files(given: Given) -> dict[str, bytes]:
    """The content of parquet files with the texts and their labels, by name.

    Args:
        given: The data.

    Raises:
        DataError: A text is no string, or they have no labels, or there are some without labels.
    """
    if given.unlabelled is not None:
        raise DataError("unlabelled: goes with samples of numbers, found texts in x")
    columns, files = text_columns(given.x), {}
    parts = (("x", (given.x, given.y)), ("validation", given.validation), ("test", given.test))
    for name, (where, pair) in zip(NAMES, parts, strict=True):
        if pair is None:
            continue
        x, y = pair_of(pair, where)
        names = ("x", "y") if where == "x" else (f"{where}[0]", f"{where}[1]")
        if y is None:
            raise DataError(f"{names[1]}: labels are missing; bring one for each text")
        texts, labels = _rows(x, columns, names[0]), as_array(y, names[1]).tolist()
        if not isinstance(labels, list) or len(labels) != len(texts):
            number = len(labels) if isinstance(labels, list) else "one value"
            raise DataError(
                f"{names[0]} and {names[1]}: should have the same length, found {len(texts):,} "
                f"and {number}"
            )
        table = dict(zip(columns, map(list, zip(*texts, strict=True)), strict=True))
        stream = io.BytesIO()
        pq.write_table(pa.table({**table, "label": labels}), stream)
        files[f"{FOLDER}/{name}.parquet"] = stream.getvalue()
    return files


def _rows(x: Any, columns: tuple[str, ...], where: str) -> list[tuple[str, ...]]:
    """Texts as tuples of one or two strings."""
    found = []
    for row, one in enumerate(listed(x)):
        parts = (one,) if isinstance(one, str) else one
        whole = isinstance(parts, list | tuple) and len(parts) == len(columns)
        if not whole or not all(isinstance(part, str) for part in parts):
            what = "a string" if columns == SINGLE else "a pair of strings"
            raise DataError(f"{where}[{row}]: should be {what}, found {quoted(one)}")
        found.append(tuple(parts))
    return found
