"""Texts in CSV and parquet files: a column of texts, or two for pairs, and one of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.config.values import TEXTS
from tasearch.data.columns import check_names, labels_of
from tasearch.data.csv_lines import row_words, separator_of
from tasearch.data.encoded import Warn
from tasearch.data.part_files import files_by_part, reading
from tasearch.data.table_columns import TEXT
from tasearch.data.tables import TablePart
from tasearch.errors import DataError, quoted, shown

KINDS = {".csv": "csv", ".parquet": "parquet"}  # of a folder's files, by the ending of their names
BLOCK = 2**24  # bytes of a CSV file that are read at a time; a row must fit


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts as a source gives them.

    Args:
        parts: The parts that it has by name, "train" first; columns of rows are those of a text.
    """

    parts: Mapping[str, TablePart]


def load(section: DataSection, root: str, progress: object, warn: Warn) -> Texts:
    """The source "text": one file, or a folder's files train*, validation* and test*.

    Args:
        section: The `[data]` section of the study file, with the path and the columns.
        root: Folder that the path is relative to.
        progress: Not used: reading takes no time.
        warn: Not used: what is told of texts is known when they are tokens.

    Raises:
        DataError: A file, a column or a row breaks a rule; the message names it.
    """
    assert section.path is not None
    path = Path(root) / section.path
    suffix = _suffix(path)
    files = files_by_part(path, section.path, suffix)
    parts = {}
    for part in ("train", *(part for part in files if part != "train")):
        read = [_read(file, section, KINDS[suffix]) for file in files[part]]
        rows = pa.concat_tables([each.rows for each in read])
        labels = np.concatenate([each.labels for each in read])
        parts[part] = TablePart(rows=rows, labels=labels)
    return Texts(parts=parts)


def is_parquet(section: DataSection, root: str) -> bool:
    """Whether a study reads texts of parquet files."""
    if section.source not in TEXTS or section.path is None:
        return False
    return KINDS[_suffix(Path(root) / section.path)] == "parquet"


def _suffix(path: Path) -> str:
    """The ending of the files' names; a file of another ending is taken for CSV."""
    if path.is_dir():
        found = sorted({file.suffix for file in path.iterdir()} & {*KINDS})
        if len(found) > 1:
            raise DataError(f"{shown(path)}: should hold files of one kind, found {quoted(found)}")
        return found[0] if found else ".csv"
    return path.suffix if path.suffix in KINDS else ".csv"


def _read(file: Path, section: DataSection, kind: str) -> TablePart:
    """The rows of one file.

    Args:
        file: Its path.
        section: The `[data]` section.
        kind: "csv" or "parquet".
    """
    table = _csv(file, section) if kind == "csv" else _parquet(file)
    asked = [("data.label", section.label), *(("data.text", name) for name in section.text)]
    check_names(file, table, asked)
    if section.label in section.text:
        raise DataError(f"data.text: should not name the column of labels, {quoted(section.label)}")
    if table.num_rows == 0:
        raise DataError(f"{shown(file)}: has no rows")
    columns = {name: _texts(table, name, file, kind) for name in section.text}
    return TablePart(rows=pa.table(columns), labels=labels_of(table, section.label, file, kind))


def _texts(table: Any, name: str, file: Path, kind: str) -> Any:
    """A column of texts, none of which is empty."""
    column = table.column(name).combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    where = f"{shown(file)}: column {quoted(name)}"
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"{where}: should hold text, holds {shown(column.type)}")
    empty = pc.equal(pc.utf8_trim_whitespace(column.cast(TEXT)), "").fill_null(True)
    number = pc.sum(empty).as_py()
    if number:
        place = row_words(file, empty.index(True).as_py(), kind)
        raise DataError(
            f"{where}: {number:,} of {len(column):,} texts are empty, the first in {place}; remove "
            f"these rows, or write what they should say"
        )
    return column.cast(TEXT)


def _csv(file: Path, section: DataSection) -> pa.Table:
    """A CSV file with a head; only what is empty is missing, so "NA" and "null" are texts."""
    with reading(file), open_regular(file) as stream:
        separator = separator_of(stream)
        return pyarrow.csv.read_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(section.text, TEXT),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


def _parquet(file: Path) -> pa.Table:
    with reading(file), open_regular(file) as stream:
        return pq.ParquetFile(stream, page_checksum_verification=True).read()
