"""The cache of decoded images and of views on disk, keyed by the digest of what they come from.

An entry is a folder of `.npy` files and a seal, which holds their checksums and its own. A new
entry is written under a temporary name and renamed, so that it is complete or not there at all.
Checksums are compared whenever an entry is read, and a damaged entry is made again. Arrays are
memory-mapped, and stay valid when the entry is deleted; what is written to them changes no file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from tasearch.config.cache_folder import ADVICE, cache_folder
from tasearch.errors import DataError, shown

SEAL = "arrays.json"
CHUNK = 2**24  # bytes that are read at a time for a checksum
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # another process has made the entry meanwhile
_TEMPORARY = re.compile(r"\.tasearch-[0-9a-f]{16}\.tmp")


def cached(
    key: str, make: Callable[[Path], None], what: str = "decoded images"
) -> dict[str, np.ndarray]:
    """The arrays of an entry, memory-mapped; made if the entry is missing or damaged.

    Args:
        key: Digest of the content, which is the entry's name.
        make: Function that writes files `<name>.npy` into a folder.
        what: What the arrays are, in words.

    Raises:
        DataError: The cache cannot be read or written; `make` may raise other errors.
    """
    folder = cache_folder() / key
    try:
        arrays = _read(folder)
    except OSError as error:
        raise _failure(folder, f"{what} cannot be read", error) from None
    return _made(folder, make, what) if arrays is None else arrays


def is_cached(key: str) -> bool:
    """Whether there is an entry, which may be damaged."""
    return (cache_folder() / key / SEAL).is_file()


def _made(folder: Path, make: Callable[[Path], None], what: str) -> dict[str, np.ndarray]:
    """The arrays of a new entry."""
    name = f".tasearch-{secrets.token_hex(8)}"
    temporary, lock = folder.with_name(f"{name}.tmp"), FileLock(folder.with_name(f"{name}.lock"))
    try:
        if folder.parent.exists():
            _tidy(folder.parent)
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        temporary.mkdir()
        make(temporary)
        files = sorted(temporary.glob("*.npy"))
        seal = _seal({file.stem: _checksum(file) for file in files})
        (temporary / SEAL).write_text(seal, encoding="utf-8")
        arrays = _read(temporary)
        if arrays is None:
            raise DataError(f"{shown(folder.parent)}: what was written here came back damaged")
        if os.name == "nt":  # there a folder cannot be renamed while files in it are mapped
            arrays = None
        _place(temporary, folder)
        if arrays is None:
            arrays = _read(folder)
            if arrays is None:
                raise OSError(errno.ENOENT, "another process has removed them")
    except OSError as error:
        raise _failure(folder.parent, f"{what} cannot be written", error) from None
    finally:
        _drop(temporary, lock)
    return arrays


def _place(temporary: Path, folder: Path) -> None:
    """Put a new entry where it belongs, unless another process has done so meanwhile."""
    _remove(folder)  # it is damaged
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in TAKEN:
            raise


def _tidy(cache: Path) -> None:
    """Remove the temporary folders of processes that were killed while they decoded."""
    for temporary in cache.iterdir():
        if not _TEMPORARY.fullmatch(temporary.name) or not temporary.is_dir():
            continue
        lock = FileLock(temporary.with_suffix(".lock"))
        with contextlib.suppress(Timeout, OSError):  # its process is alive, or another user's
            lock.acquire(timeout=0)
            _drop(temporary, lock)


def _drop(temporary: Path, lock: FileLock) -> None:
    """Remove a temporary folder, and then its lock."""
    shutil.rmtree(temporary, ignore_errors=True)
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()


def _failure(folder: Path, words: str, error: OSError) -> DataError:
    return DataError(f"{shown(folder)}: {words} here: {error.strerror or error}; {ADVICE}")


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()


def _seal(sums: dict[str, int]) -> str:
    """The content of a seal: checksums by name, and their own."""
    text = json.dumps(sums)
    return f"{text}\n{zlib.crc32(text.encode())}\n"


def _read(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an entry; None if it is missing or damaged.

    Raises:
        OSError: The entry exists and cannot be read.
    """
    try:
        seal = (folder / SEAL).read_text(encoding="utf-8")
        sums = json.loads(seal.partition("\n")[0])
        if seal != _seal(sums):
            return None
        files = {name: folder / f"{name}.npy" for name in sums}
        if any(_checksum(file) != sums[name] for name, file in files.items()):
            return None
        return {name: np.load(file, mmap_mode="c") for name, file in files.items()}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def _checksum(file: Path) -> int:
    """The CRC-32 of a file, which is computed as fast as a disk is read."""
    value = 0
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
