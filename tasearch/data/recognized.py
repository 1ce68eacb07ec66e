"""Which source reads a file or a folder, and which column of it holds the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.config.values import TABLES
from tasearch.data import npz
from tasearch.data.columns import check_names
from tasearch.data.part_files import files_by_part, reading
from tasearch.data.recognized_texts import ROWS, pair_or_longest, text_columns
from tasearch.data.tables import SUFFIXES, csv_head, is_table
from tasearch.errors import DataError, nearest, quoted, shown

SOURCES = {".npz": "npz", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".txt": "csv"}
LABELS = ("label", "labels", "target", "class", "y", "category", "outcome")  # names of columns
KINDS = "a folder of images, or of .parquet or .csv files, or a .npz, .parquet or .csv file"


def recognize(path: Path, label: str | None = None) -> dict[str, Any]:
    """What the section `[data]` of a study should hold to read a file or a folder.

    The column of labels of a table is the first that is called so, such as `label`, `target` or
    `class`, or else its last one that holds no texts. A table with columns of texts is read as
    texts.

    Args:
        path: A file, or a folder.
        label: Name of the column of labels; None to find it.

    Returns:
        `source`, `path`, `label` where it is not `label`, and `text` of texts.

    Raises:
        DataError: There is no such file, it is of no kind that tasearch reads, or has no such
            column.
    """
    source = _source(path)
    content: dict[str, Any] = {"source": source, "path": str(path)}
    if source not in TABLES:
        if label is not None:
            raise DataError(f"{shown(path)}: has no columns, so there is no label {quoted(label)}")
        return content
    rows = _rows(path, DataSection(source=source, path=str(path)))
    names = list(rows.column_names)
    if label is not None and label not in names:
        raise DataError(f"{shown(path)}: has no column {quoted(label)}{nearest(label, names)}")
    texts = text_columns(rows)
    found = label if label is not None else _label(names, [n for n in names if n not in texts])
    texts = [name for name in texts if name != found]
    if texts:
        held = pair_or_longest(rows, texts)
        content |= {"source": "text", "text": held[0] if len(held) == 1 else held}
    return content if found == DataSection().label else {**content, "label": found}


def teacher_outputs(path: Path) -> str | None:
    """What the teacher's outputs in a .npz file are, "logits" or "probabilities"; None if it has
    none.

    Args:
        path: The file.

    Raises:
        DataError: It cannot be read.
    """
    found = npz.load(DataSection(source="npz", path=str(path)), "").get("teacher_train")
    if found is None:
        return None
    rows = np.asarray(found, dtype=np.float64)
    sums = rows.sum(axis=-1)
    return "probabilities" if rows.min() >= 0 and np.allclose(sums, 1, atol=0.01) else "logits"


def _source(path: Path) -> str:
    """The source for a file by its suffix, or for a folder by what is in it."""
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{shown(path)}: no such data file or folder")
        found = SOURCES.get(path.suffix.lower())
        if found is None:
            raise DataError(f"{shown(path)}: should be {KINDS}")
        return found
    try:
        suffixes = {entry.suffix for entry in path.iterdir() if entry.is_file()}
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    return next((s for s in TABLES if SUFFIXES[s] in suffixes), "imagefolder")


def _rows(path: Path, section: DataSection) -> pa.Table:
    """The first rows of the training part's first file; of parquet files, without images."""
    file, *_ = files_by_part(path, str(path), SUFFIXES[section.source])["train"]
    if section.source == "csv":
        head = csv_head(file, section).slice(0, ROWS)
        check_names(file, head)
        return head
    with reading(file, "is no readable parquet file"), open_regular(file) as stream:
        parquet = pq.ParquetFile(stream)
        if not is_table(section, ""):
            return parquet.schema_arrow.empty_table()
        rows = next(parquet.iter_batches(ROWS), None)
        schema = parquet.schema_arrow
        check_names(file, schema.empty_table())
        return schema.empty_table() if rows is None else pa.Table.from_batches([rows], schema)


def _label(names: Sequence[str], likely: Sequence[str]) -> str:
    """The column that most likely holds the labels.

    Args:
        names: All columns.
        likely: Those that hold no texts.
    """
    for wanted in LABELS:
        for name in names:
            if name.strip().lower() == wanted:
                return name
    return (likely or names)[-1]
