"""The files of a run that its driver alone writes: journal, logs, manifest, verdicts, inputs.

They are committed together: one record (`head/`, see `tasearch.runs.remote.versions`) lists the
parts of each file. A part is an object with some bytes of a file, named by its digest. Of a log
that has grown only the new bytes are written; small parts at its end are joined, so that a log of
n commits has some log2(n) parts.

    head/<version>.data      {"files": {"journal.log": [part, ...], ...}}
    parts/<token>-<sha256>   up to 64 MiB of a file
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasearch.config.files import write_atomic, write_error
from tasearch.errors import StoreError
from tasearch.runs.folder_check import SHARED
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.versions import Versions, matches
from tasearch.runs.store import KINDS

HEAD = "head"
PART_BYTES = 2**26
READERS = 2  # commits that stay behind the newest one
_APART = re.compile(  # what the driver does not commit
    rf"(confirm/)?({'|'.join(KINDS)}|locks)/.*|{SHARED}/.*|lock|report\.html"
    r"|journal\.log\.lock.*|(.*/)?\.tasearch-.*"
)
_PART = re.compile(r"[0-9]{8}-([0-9a-f]{64})")

Parts = tuple["Part", ...]


@dataclass(frozen=True)
class Part:
    """Some bytes of a file, in an object of their own.

    Args:
        name: Name of the object below `parts/`.
        size: Number of bytes.
    """

    name: str
    size: int

    def holds(self, content: bytes) -> bool:
        """Whether these are the bytes."""
        return matches(content, self.name.partition("-")[2], self.size)


class DriverFiles:
    """The files of a run that its driver writes, as they were last committed.

    Args:
        bucket: The objects of the run.
        folder: The copy of the run on this machine.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self._bucket, self._folder = bucket, folder
        self.versions = Versions(bucket, HEAD)
        self._committed: dict[str, Parts] = {}
        self._seen: dict[str, tuple[int, ...]] = {}  # a file's inode, size and time at its commit

    def pull(self) -> bool:
        """Make the files here those of the newest commit.

        Returns:
            Whether there is one.

        Raises:
            StoreError: A commit is damaged, or the store is out of reach.
        """
        self._committed = self._read_head()
        self._seen.clear()
        for name in [*self._names()]:
            if name not in self._committed:
                (self._folder / name).unlink(missing_ok=True)
        for name, parts in self._committed.items():
            self._fetch(name, parts)
        return bool(self._committed)

    def commit(self, token: int, *, anew: bool = False) -> None:
        """Commit the files as they are here, if they have changed.

        Args:
            token: Token of the lease.
            anew: Whether to commit also if nothing has changed.

        Raises:
            StoreError: The store is out of reach.
        """
        found = {name: self._parts(name, token) for name in self._names()}
        if found == self._committed and not anew:
            return
        files = {name: [[part.name, part.size] for part in parts] for name, parts in found.items()}
        self.versions.add(token, json.dumps({"files": files}, indent=1).encode(), keep=READERS)
        self._committed = found

    def _read_head(self) -> dict[str, Parts]:
        """The files of the newest commit."""
        for _ in range(READERS + 1):
            version = self.versions.newest()
            if version is None:
                return {}
            content = self.versions.read(version)
            if content is not None:  # else a newer commit has replaced it meanwhile
                return _files(json.loads(content))
        raise StoreError(f"{self._bucket.url / HEAD}: the newest commit has lost its content")

    def _names(self) -> Iterator[str]:
        """Paths of the driver's files below the folder."""
        for place, folders, files in os.walk(self._folder):
            within = Path(place).relative_to(self._folder)
            folders[:] = [n for n in folders if not _APART.fullmatch(f"{(within / n).as_posix()}/")]
            for name in files:
                path = (within / name).as_posix()
                if not _APART.fullmatch(path) and not (self._folder / path).is_symlink():
                    yield path

    def _parts(self, name: str, token: int) -> Parts:
        """The parts of a file, of which those that are new are written."""
        file, before = self._folder / name, self._committed.get(name, ())
        found = file.stat()
        seen = found.st_ino, found.st_size, found.st_mtime_ns
        if before and self._seen.get(name) == seen:
            return before
        parts, offset = [], 0
        with file.open("rb") as stream:
            for part in before:
                if not part.holds(stream.read(part.size)):
                    break
                parts.append(part)
                offset += part.size
            left = found.st_size - offset
            while parts and left > 0 and parts[-1].size <= left < PART_BYTES:
                left += parts.pop().size
            stream.seek(found.st_size - left)
            while left or not parts:
                content = stream.read(min(left, PART_BYTES))
                parts.append(self._written(content, token))
                left -= len(content)
        self._seen[name] = seen
        return tuple(parts)

    def _written(self, content: bytes, token: int) -> Part:
        part = Part(f"{token:08}-{hashlib.sha256(content).hexdigest()}", len(content))
        self._bucket.write(f"parts/{part.name}", content)
        return part

    def _fetch(self, name: str, parts: Parts) -> None:
        """Make a file here that of a commit; parts that it has already are not read again."""
        file, content, same = self._folder / name, [], True
        try:
            with file.open("rb") as stream:
                for part in parts:
                    own = stream.read(part.size) if same else b""
                    same = same and part.holds(own)
                    content.append(own if same else self._read(part))
                if same and not stream.read(1):
                    return
        except FileNotFoundError:
            content = [self._read(part) for part in parts]
        except OSError as error:
            raise write_error(file, error) from None
        write_atomic(file, b"".join(content))

    def _read(self, part: Part) -> bytes:
        name = f"parts/{part.name}"
        content = self._bucket.read(name)
        if content is None or not part.holds(content):
            fault = "is missing" if content is None else "does not match its checksum"
            raise StoreError(
                f"{self._bucket.url / name}: {fault}; a commit of the run names it, so put it "
                f"back from a copy, or remove all of {self._bucket.url} and run the study again"
            )
        return content


def _files(content: dict[str, Any]) -> dict[str, Parts]:
    return {name: tuple(Part(*part) for part in parts) for name, parts in content["files"].items()}
