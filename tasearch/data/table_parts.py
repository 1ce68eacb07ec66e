"""The parts of a table: split by rows, then made features as the training part alone decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasearch.config.data_section import DataSection
from tasearch.data.array_file import ArrayFile
from tasearch.data.arrays import Split
from tasearch.data.features import Features, TableData
from tasearch.data.labels import number_classes
from tasearch.data.split import split
from tasearch.data.tables import TablePart, Tables
from tasearch.data.tokenizer import TextTokenizer
from tasearch.data.unlabelled import tell_equal_rows
from tasearch.errors import DataError, quoted


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of any data.

    Args:
        parts: Parts by name: "train", "val" and "test", or those that were asked for.
        class_names: Names of the classes by number.
        table: How the rows of a table became features; None for other data.
        file: The file in which the samples are, mapped; None where they are in memory.
        channels_last: Whether the source gives images with their channels last.
        unlabelled: Samples without labels; None if there are none.
        text: How texts became token ids; None for other data.
        held_out_ids: The least and the greatest integer of the test set; None for other samples.
        joined: The samples of "train" and those without labels in one array; None where they are
            apart.
    """

    parts: dict[str, Split]
    class_names: tuple[str, ...]
    table: TableData | None = None
    file: ArrayFile | None = None
    channels_last: bool = False
    unlabelled: np.ndarray | None = None
    text: TextTokenizer | None = None
    held_out_ids: tuple[int, int] | None = None
    joined: np.ndarray | None = None


def table_parts(
    found: Tables, section: DataSection, where: str, warn: Callable[[str], None]
) -> Parts:
    """Split a table, and make features of its rows.

    Args:
        found: The table as the source gives it.
        section: The `[data]` section of the study file.
        where: File or folder that the table comes from, for messages.
        warn: Called with each notice for the user.

    Raises:
        DataError: Labels or columns break a rule, or a class has too few rows.
    """
    rows, labels, class_names = split_rows(found.parts, section, where)
    features = Features.fit(rows["train"], where, warn)
    parts = {
        part: Split(x=_finite(features, own, f"{where}: {part}"), y=labels[part])
        for part, own in rows.items()
    }
    table = TableData(features=features, validation=rows["val"])
    unlabelled = None
    if found.unlabelled is not None:
        unlabelled = _finite(features, found.unlabelled, f"{where}: unlabelled")
        tell_equal_rows(unlabelled, parts, warn)
    return Parts(parts=parts, class_names=class_names, table=table, unlabelled=unlabelled)


def split_rows(
    given: Mapping[str, TablePart], section: DataSection, where: str
) -> tuple[dict[str, pa.Table], dict[str, np.ndarray], tuple[str, ...]]:
    """Split the rows of a table.

    Args:
        given: The parts that the source has, "train" among them.
        section: The `[data]` section of the study file.
        where: File or folder that the table comes from, for messages.

    Returns:
        The rows of "train", "val" and "test", and their labels, int64 (rows,), by part; and the
        names of the classes.

    Raises:
        DataError: Labels break a rule, or a class has too few rows.
    """
    found = {part: own.labels for part, own in given.items()}
    labels, class_names = number_classes(found, where, section.label)
    numbers = {part: Split(x=np.arange(len(y)), y=y) for part, y in labels.items()}
    drawn = split(numbers, section=section, class_names=class_names, where=where)
    places = {part: own.in_memory() for part, own in drawn.items()}
    rows = {
        part: given[part if part in given else "train"].rows.take(own.x)
        for part, own in places.items()
    }
    return rows, {part: own.y for part, own in places.items()}, class_names


def _finite(features: Features, rows: pa.Table, where: str) -> np.ndarray:
    """The features of rows, refused where a number is no float32."""
    x = features.transform(rows)
    wrong = ~np.isfinite(x).all(axis=0)
    if wrong.any():
        name = features.names[int(wrong.argmax())]
        row = int((~np.isfinite(x[:, int(wrong.argmax())])).argmax())
        raise DataError(
            f"{where}: column {quoted(name)}: should be a finite float32, found "
            f"{rows.column(name)[row]}"
        )
    return x
