"""The data set of a run at a URL, for workers on other machines.

It is a file in parts, which are objects named by their digests, and a list of them, which is
written when they are complete and is named by its digest as well. So the same data are written
once, by whatever driver, and what a worker has read is what its driver meant.

    data/<sha256>        up to 64 MiB of the file
    data/<sha256>.list   digest and size of each part
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from tasearch.config.files import write_error
from tasearch.errors import StoreError
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.driver_files import PART_BYTES
from tasearch.runs.remote.versions import matches

SUFFIX = ".arrays"


def deliver(bucket: Bucket, file: Path) -> str:
    """Write a file into the store, unless it is there.

    Args:
        bucket: The objects of the run.
        file: The file.

    Returns:
        The name under which `fetch` finds it, which is that of its content.

    Raises:
        StoreError: The store is out of reach.
    """
    parts = [(hashlib.sha256(part).hexdigest(), len(part)) for part in _parts(file)]
    content = json.dumps(parts).encode()
    name = hashlib.sha256(content).hexdigest()
    if bucket.read(f"data/{name}.list") != content:
        for (digest, _), part in zip(parts, _parts(file), strict=True):
            bucket.write(f"data/{digest}", part)
        bucket.write(f"data/{name}.list", content)
    return name


def fetch(bucket: Bucket, name: str, folder: Path) -> Path:
    """The path of a delivered file on this machine, which it has once for all workers.

    Args:
        bucket: The objects of the run.
        name: What `deliver` has returned.
        folder: Folder for the file; files of other names there are deleted.

    Raises:
        StoreError: The file is missing or damaged in the store, or there is no room for it here.
    """
    file = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "data.lock"):
            if not file.is_file():
                for other in folder.glob(f"*{SUFFIX}"):  # a worker that maps it keeps it
                    other.unlink(missing_ok=True)
                _write(file, _read(bucket, name))
    except OSError as error:
        raise write_error(file, error) from None
    return file


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while part := stream.read(PART_BYTES):
            yield part


def _read(bucket: Bucket, name: str) -> Iterator[bytes]:
    """The parts of a delivered file, each verified."""
    content = bucket.read(f"data/{name}.list") or b""
    if hashlib.sha256(content).hexdigest() != name:
        raise StoreError(f"{bucket.url}/data/{name}.list: is missing, or damaged; {_AGAIN}")
    for digest, size in json.loads(content):
        part = bucket.read(f"data/{digest}")
        if part is None or not matches(part, digest, size):
            raise StoreError(f"{bucket.url}/data/{digest}: is missing, or damaged; {_AGAIN}")
        yield part


_AGAIN = "remove what is in data/ there: the same command writes it again"


def _write(file: Path, parts: Iterator[bytes]) -> None:
    """Write a file part by part, so that it is complete or not there."""
    temporary = file.with_name(f".tasearch-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            for part in parts:
                stream.write(part)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
