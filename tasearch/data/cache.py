"""Decoded images on disk: memory-mapped, keyed by the content that they were decoded from."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasearch.errors import DataError

SEAL = "arrays.json"
CHUNK = 2**24  # bytes, of a checksum's step


def cache_folder() -> Path:
    """`$TASEARCH_CACHE`, else `tasearch` in the user's cache folder."""
    own = os.environ.get("TASEARCH_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "tasearch"


def cached(key: str, make: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """The arrays of a key, memory-mapped for reading; made where they are not there or damaged.

    Args:
        key: of the content.
        make: writes `<name>.npy` files into a folder.

    Raises:
        DataError: where the cache cannot be written.
    """
    folder = cache_folder() / key
    arrays = _read(folder)
    if arrays is not None:
        return arrays
    temporary = folder.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(parents=True)
        make(temporary)
        sums = {file.stem: _checksum(file) for file in sorted(temporary.glob("*.npy"))}
        (temporary / SEAL).write_text(json.dumps(sums), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):  # a damaged one
            shutil.rmtree(folder)
        with contextlib.suppress(FileExistsError):  # another process was quicker
            temporary.rename(folder)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: decoded images cannot be kept here: {error.strerror or error}; "
            f"set TASEARCH_CACHE to a folder with room"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    arrays = _read(folder)
    assert arrays is not None, f"{folder} was damaged while it was written"
    return arrays


def _read(folder: Path) -> dict[str, np.ndarray] | None:
    try:
        sums = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        files = {name: folder / f"{name}.npy" for name in sums}
        if any(_checksum(file) != sums[name] for name, file in files.items()):
            return None
        return {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _checksum(file: Path) -> int:
    """CRC-32, which reads as fast as a disk."""
    value = 0
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
