"""Which file of a folder is which part."""

from __future__ import annotations

from pathlib import Path

from tasearch.config.files import check_regular
from tasearch.errors import DataError, shown

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


def files_by_part(path: Path, given: str, suffix: str = ".parquet") -> dict[str, list[Path]]:
    """Files by part, each sorted by name.

    Args:
        path: A file, or a folder of files whose names begin with their part.
        given: The path as the study has it, for messages.
        suffix: Ending of the names of a folder's files.

    Raises:
        DataError: There is no such file or folder, or it cannot be told which part a file is.
    """
    try:
        if not path.is_dir():
            check_regular(path)
            return {"train": [path]}
        files = sorted(file for file in path.iterdir() if file.suffix == suffix)
    except FileNotFoundError:
        raise DataError(
            f"{shown(path)}: no such data file or folder (data.path = {given!r})"
        ) from None
    except OSError as error:
        raise DataError(
            f"{shown(path)}: cannot be read: {error.strerror} (data.path = {given!r})"
        ) from None
    parts: dict[str, list[Path]] = {}
    for file in files:
        word = "".join(c if c.isalpha() else " " for c in file.stem.lower()).split()
        if not word or word[0] not in PARTS:
            raise DataError(
                f"{shown(file)}: the name should begin with train, validation or test, "
                f"to tell which part it is"
            )
        parts.setdefault(PARTS[word[0]], []).append(file)
    if "train" not in parts:
        raise DataError(f"{path}: should hold train*{suffix}, found {sorted(parts) or 'nothing'}")
    return parts
