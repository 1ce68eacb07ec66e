"""Lines of a CSV file: the separator that it uses, and the line on which a row begins."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

SEPARATORS = ",;\t|"  # of which a file's first line has the one that it uses
HEAD = 2**16  # bytes in which the first line ends


def separator_of(stream: BinaryIO) -> str:
    """The separator that the first line has most of; a comma if it has none."""
    head = stream.read(HEAD).split(b"\n", 1)[0].decode("utf-8", "replace")
    stream.seek(0)
    return max(SEPARATORS, key=head.count)


def row_words(file: Path, row: int, source: str) -> str:
    """The place of a row in words: its line in a CSV file, its number in a parquet file.

    Args:
        file: The file; of a CSV file the first row is the head.
        row: Number of the row after the head, from 0.
        source: "csv" or "parquet".
    """
    line = None
    if source == "csv":
        with contextlib.suppress(OSError, csv.Error), file.open("rb") as stream:
            separator = separator_of(stream)
            text = io.TextIOWrapper(stream, "utf-8", "replace", newline="")
            line = next(islice(_lines(text, separator), row + 1, None), None)
    return f"row {row}" if line is None else f"line {line}"


def _lines(text: Iterator[str], separator: str) -> Iterator[int]:
    """The line on which each row begins, from 1, as editors count; empty lines are no rows."""
    reader, before = csv.reader(text, delimiter=separator), 0
    for row in reader:
        if row:
            yield before + 1
        before = reader.line_num
