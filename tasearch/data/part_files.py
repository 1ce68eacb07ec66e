"""Which file of a folder is which part, and what it means that one cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tasearch.config.files import check_regular
from tasearch.errors import DataError, first_line, shown

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
OTHERS = {"training": "train", "dev": "val", "eval": "val", "testing": "test"}  # not read


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
                f"to tell which part it is{suggestion(word[0]) if word else ''}"
            )
        parts.setdefault(PARTS[word[0]], []).append(file)
    if "train" not in parts:
        raise DataError(f"{path}: should hold train*{suffix}, found {sorted(parts) or 'nothing'}")
    return parts


def suggestion(name: str) -> str:
    """What to name a part that is called otherwise, as the end of a message.

    Example:
        >>> suggestion("Validation"), suggestion("training"), suggestion("extra")
        ("; call it 'validation', in small letters", "; call it 'train'", '')
    """
    small = name.lower()
    if small in PARTS and small != name:
        return f"; call it {small!r}, in small letters"
    return f"; call it {OTHERS[small]!r}" if small in OTHERS else ""


def unlabelled_files(path: Path, given: str, suffix: str = ".parquet") -> list[Path]:
    """Files of samples without labels, sorted by name.

    Args:
        path: A file, or a folder of files.
        given: The path as the study has it, for messages.
        suffix: Ending of the names of a folder's files.

    Raises:
        DataError: There is no such file or folder, or it holds none.
    """
    where = f"(data.unlabelled = {given!r})"
    try:
        if not path.is_dir():
            check_regular(path)
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix == suffix)
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: no such data file or folder {where}") from None
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror} {where}") from None
    if not files:
        raise DataError(f"{shown(path)}: should hold *{suffix}, found none {where}")
    return files


@contextlib.contextmanager
def reading(file: Path, failed: str = "cannot be read") -> Iterator[None]:
    """A context in which exceptions of pyarrow, of many kinds, become a `DataError`."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except OSError as error:
        words = f"cannot be read: {error.strerror}" if error.strerror else f"{failed}: {error}"
        raise DataError(f"{shown(file)}: {shown(words)}") from None
    except Exception as error:
        said = first_line(error)
        remedy = "; save the file in UTF-8" if "invalid UTF8" in said else ""
        raise DataError(f"{shown(file)}: {failed}: {shown(said)}{remedy}") from None
