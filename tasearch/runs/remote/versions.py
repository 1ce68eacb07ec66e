"""Files in an object store, each in a folder of its own with its versions.

A version is two objects. The first is its content. The second, written when the first is complete,
is the commit record: only its name counts, which says all that must be known of the content.

    hops/<key>/00000004-00000000-<sha256>-<size>.data
    hops/<key>/00000004-00000000-<sha256>-<size>.commit

The first number is the token of the lease under which it was written, the second counts the
versions of that lease. The highest version counts. No object is written twice, so whoever has lost
the lease can change nothing that a later holder has written.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tasearch.errors import StoreError
from tasearch.runs.remote.bucket import Bucket

RULE = "the size and the SHA-256 that are in its name"
COMMIT, DATA = ".commit", ".data"
_NAME = re.compile(r"([0-9]{8})-([0-9]{8})-([0-9a-f]{64})-([0-9]+)")


class DamagedObject(StoreError):
    """An object in the store is not what was written."""


@dataclass(frozen=True, kw_only=True, order=True)
class Version:
    """One version of a file.

    Args:
        token: Token of the lease under which it was written.
        number: Its number under this lease, from 0.
        sha256: Digest of its content.
        size: Bytes of its content.
    """

    token: int
    number: int
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The common name of its two objects."""
        return f"{self.token:08}-{self.number:08}-{self.sha256}-{self.size}"

    @classmethod
    def of(cls, name: str) -> Version | None:
        """The version whose commit record has a name; None for other names."""
        found = _NAME.fullmatch(name.removesuffix(COMMIT))
        if found is None or not name.endswith(COMMIT):
            return None
        token, number, sha256, size = found.groups()
        return cls(token=int(token), number=int(number), sha256=sha256, size=int(size))


class Versions:
    """The versions of one file.

    Args:
        bucket: The objects of the run.
        folder: The folder of the versions.
    """

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket, self._folder = bucket, folder

    def newest(self) -> Version | None:
        """The version that counts; None if none was committed."""
        return max(self._committed(self._names()), default=None)

    def read(self, version: Version) -> bytes | None:
        """The content of a version; None if it was deleted meanwhile, for a newer one.

        Raises:
            DamagedObject: The content is not what was written.
            StoreError: The store is out of reach.
        """
        name = f"{self._folder}/{version.name}{DATA}"
        content = self._bucket.read(name)
        if content is not None and not matches(content, version.sha256, version.size):
            raise DamagedObject(f"{self._bucket.url / name}: is damaged: it should have {RULE}")
        return content

    def add(self, token: int, content: bytes, *, keep: int = 0) -> Version:
        """Write a version, and delete those that it replaces.

        Nothing is written if the newest version, damaged or not, is of a later lease.

        Args:
            token: Token of the lease.
            content: The content.
            keep: Number of replaced versions that stay, for those who are reading them.

        Raises:
            StoreError: The store is out of reach.
        """
        names = self._names()
        known = sorted(self._committed(names))
        number = known[-1].number + 1 if known and known[-1].token == token else 0
        digest = hashlib.sha256(content).hexdigest()
        new = Version(token=token, number=number, sha256=digest, size=len(content))
        if known and known[-1].token > token:
            return new
        self._bucket.write(f"{self._folder}/{new.name}{DATA}", content)
        self._bucket.write(f"{self._folder}/{new.name}{COMMIT}", b"committed\n")
        kept = known[len(known) - keep :] if keep else []
        self._delete(names, {version.name for version in known} - {v.name for v in kept}, token)
        return new

    def drop(self, token: int) -> None:
        """Delete all versions, but not those of later leases."""
        names = self._names()
        self._delete(names, {name.rpartition(".")[0] for name in names}, token)

    def _delete(self, names: list[str], replaced: set[str], token: int) -> None:
        """Delete versions of leases up to a token, and what earlier leases left uncommitted.

        Commit records are deleted first. What this lease has not committed may be in the making.
        """
        committed = {name.removesuffix(COMMIT) for name in names if name.endswith(COMMIT)}
        found = []
        for name in names:
            version, number = name.rpartition(".")[0], name.partition("-")[0]
            old = int(number) if number.isdecimal() else token + 1
            left = old < token and version not in committed
            if left or (version in replaced and old <= token):
                found.append(name)
        found.sort(key=lambda name: not name.endswith(COMMIT))
        self._bucket.delete(*(f"{self._folder}/{name}" for name in found))

    def _names(self) -> list[str]:
        return self._bucket.names(self._folder)

    @staticmethod
    def _committed(names: list[str]) -> list[Version]:
        return [version for name in names if (version := Version.of(name)) is not None]


def matches(content: bytes, sha256: str, size: int) -> bool:
    """Whether a content has a digest and a number of bytes."""
    return len(content) == size and hashlib.sha256(content).hexdigest() == sha256
