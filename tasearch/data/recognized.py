"""Which source reads a file or a folder, and which column of it holds the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.config.values import TABLES
from tasearch.data import npz
from tasearch.data.part_files import files_by_part, reading
from tasearch.data.tables import SUFFIXES, csv_names
from tasearch.errors import DataError, nearest, quoted, shown

SOURCES = {".npz": "npz", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".txt": "csv"}
LABELS = ("label", "labels", "target", "class", "y", "category", "outcome")  # names of columns
KINDS = "a folder of images, or of .parquet or .csv files, or a .npz, .parquet or .csv file"


def recognize(path: Path, label: str | None = None) -> dict[str, Any]:
    """What the section `[data]` of a study should hold to read a file or a folder.

    The column of labels of a table is the first that is called so, such as `label`, `target` or
    `class`, or else its last one.

    Args:
        path: A file, or a folder.
        label: Name of the column of labels; None to find it.

    Returns:
        `source`, `path`, and `label` where it is not `label`.

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
    names = _columns(path, DataSection(source=source, path=str(path)))
    if label is not None and label not in names:
        raise DataError(f"{shown(path)}: has no column {quoted(label)}{nearest(label, names)}")
    found = label if label is not None else _label(names)
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


def _columns(path: Path, section: DataSection) -> list[str]:
    """The names of the columns of the training part's first file."""
    file, *_ = files_by_part(path, str(path), SUFFIXES[section.source])["train"]
    if section.source == "csv":
        return csv_names(file)
    with reading(file, "is no readable parquet file"), open_regular(file) as stream:
        return list(pq.ParquetFile(stream).schema_arrow.names)


def _label(names: Sequence[str]) -> str:
    """The column that most likely holds the labels."""
    for wanted in LABELS:
        for name in names:
            if name.strip().lower() == wanted:
                return name
    return names[-1]
