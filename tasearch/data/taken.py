"""The samples of the parts: copied into memory, or many of them into a file that is mapped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasearch.data.array_file import ArrayFile
from tasearch.data.arrays import Split
from tasearch.data.split import Rows
from tasearch.errors import DataError

LARGE = 2**28  # bytes of samples from which on they are in a file


def take_parts(
    drawn: Mapping[str, Rows], folder: Path | None
) -> tuple[dict[str, Split], ArrayFile | None]:
    """The parts with their samples.

    Large ones go from the source's array to a file, some at a time, so that they are at no time in
    the memory of a process: only pages of the file are, which all processes share.

    Args:
        drawn: Where the samples are, by part.
        folder: The folder of the file; None for that of temporary files.

    Returns:
        The parts, and the file; None where they are in memory.

    Raises:
        DataError: There is no room for the file.
    """
    if sum(len(rows.y) * rows.source.x[0].nbytes for rows in drawn.values()) < LARGE:
        return {name: rows.in_memory() for name, rows in drawn.items()}, None
    try:
        file = ArrayFile(folder)
        parts = {}
        for name, rows in drawn.items():
            x = file.add(f"x_{name}", rows.source.x, rows.numbers)
            parts[name] = Split(x=x, y=rows.y, teacher=rows.teacher)
    except OSError as error:
        where = "TMPDIR" if folder is None else "TASEARCH_CACHE"
        raise DataError(
            f"the samples cannot be written to a file: {error.strerror or error}; set {where} to a "
            f"folder with room"
        ) from None
    return parts, file
