"""The hops of a run at a URL: a copy on this machine, and what is shared with other machines.

Finished hops, checkpoints and snapshots are in the object store as soon as they are saved. Soft
targets are on this machine only: where they are missing, they are computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasearch.config.files import write_atomic
from tasearch.errors import StoreError
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.versions import COMMIT, DamagedObject, Versions
from tasearch.runs.seals import read_file, unseal_tensors
from tasearch.runs.store import KINDS, HopRecord, Store, Tensors

SHARED_KINDS = ("hops", "checkpoints", "snapshots")
FIXED = ("hops", "snapshots")  # equal wherever they are stored: those here need no look elsewhere


class RemoteStore(Store):
    """A store whose files other machines see.

    Args:
        path: Path of the copy on this machine.
        warn: Function that receives a message for each damaged file; the file counts as absent.
        bucket: The objects of the run.
        token: Token of the lease under which it writes; None for a store that is only read.
        under: Name of the store's folder within the run; empty for the run's own.
        there: Kinds and names of the files that are in the object store and have not been read yet,
            where only processes of this machine add others; None to look for each file.
        strict: Whether a damaged file raises an error instead.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None] = lambda message: None,
        *,
        bucket: Bucket,
        token: int | None,
        under: str = "",
        there: set[tuple[str, str]] | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(path, warn, strict=strict)
        self._bucket, self._token, self._under, self._there = bucket, token, under, there
        self._same: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}  # digests of files here
        self._dropped = set[tuple[str, str]]()
        self._here = Store(path)  # the files of this machine alone

    @property
    def address(self) -> dict[str, Any]:
        """What another process needs to open the same store."""
        return {"url": str(self._bucket.url), "token": self._token, "under": self._under}

    def save(self, kind: str, key: str, tensors: Tensors, record: HopRecord) -> None:
        super().save(kind, key, tensors, record)
        if kind in SHARED_KINDS and self._token is not None:
            self._share(kind, key)
            self._dropped.discard((kind, key))

    def drop(self, kind: str, key: str) -> None:
        here = self._file(kind, key).exists()
        super().drop(kind, key)
        if kind not in SHARED_KINDS or self._token is None:
            return
        if here or (kind, key) not in self._dropped:
            self._versions(kind, key).drop(self._token)
            self._dropped.add((kind, key))

    def finished(self) -> list[str]:
        return sorted({*super().finished(), *self._committed("hops")})

    def publish_unshared(self) -> set[tuple[str, str]]:
        """Share sound files that are here alone, or ahead: a kill has come before that was done.

        Returns:
            Kinds and names of the files that were in the object store before.
        """
        found = set[tuple[str, str]]()
        for kind in SHARED_KINDS:
            there = self._committed(kind)
            found |= {(kind, name) for name in there}
            for file in sorted((self.path / kind).glob("*.safetensors")):
                key = file.stem
                shared = key in there and (kind in FIXED or self._is_shared(kind, key))
                if not shared and self._here.record(kind, key) is not None:
                    self._share(kind, key)
        return found

    def forget(self) -> None:
        """Delete the files here, of an earlier run at the same URL."""
        for kind in KINDS:
            for file in (self.path / kind).glob("*.safetensors"):
                file.unlink(missing_ok=True)

    def _share(self, kind: str, key: str) -> None:
        """Write a file that is here into the object store."""
        assert self._token is not None
        content = read_file(self._file(kind, key))
        self._versions(kind, key).add(self._token, content)
        self._note(kind, key, hashlib.sha256(content).hexdigest())

    def _read(self, kind: str, key: str) -> tuple[bytes, HopRecord] | None:
        if kind in FIXED and (found := self._here._read(kind, key)) is not None:
            return found
        if kind in SHARED_KINDS:  # also if it is damaged here
            self._fetch(kind, key)
        return super()._read(kind, key)

    def _fetch(self, kind: str, key: str) -> None:
        """Bring the newest version of a file here, if there is one that is sound."""
        damaged = kind in FIXED and self._file(kind, key).exists()
        if self._there is not None and (kind, key) not in self._there and not damaged:
            return
        try:
            content = self._other(kind, key)
        except DamagedObject as error:
            if self._strict:
                raise
            self.warn(f"{error}; it counts as absent")
            return
        if content is not None and not self._is_ahead(kind, key, content):
            write_atomic(self._file(kind, key), content)
            self._note(kind, key, hashlib.sha256(content).hexdigest())
        if self._there is not None:
            self._there.discard((kind, key))

    def _other(self, kind: str, key: str) -> bytes | None:
        """The newest version of a file; None if it is the one here, or there is none."""
        versions = self._versions(kind, key)
        version = versions.newest()
        if version is None or self._digest(kind, key) == version.sha256:
            return None
        return versions.read(version)

    def _is_ahead(self, kind: str, key: str, content: bytes) -> bool:
        """Whether a checkpoint here is of a later epoch than the content of another one."""
        own = None if kind in FIXED else self._here.record(kind, key)
        if own is None:
            return False
        try:
            return own.epoch > int(unseal_tensors(content, f"{kind}/{key}")["epoch"])
        except StoreError:
            return True

    def _is_shared(self, kind: str, key: str) -> bool:
        """Whether what is in the object store is as far as a checkpoint here."""
        with contextlib.suppress(DamagedObject):
            content = self._other(kind, key)
            return content is None or not self._is_ahead(kind, key, content)
        return False

    def _digest(self, kind: str, key: str) -> str:
        """The digest of a file here; empty if it is missing."""
        try:
            place = self._place(kind, key)
            digest, known = self._same.get((kind, key), ("", ()))
            if known != place:
                digest = hashlib.sha256(read_file(self._file(kind, key))).hexdigest()
                self._same[kind, key] = digest, place
        except OSError:
            return ""
        return digest

    def _note(self, kind: str, key: str, digest: str) -> None:
        with contextlib.suppress(OSError):  # another worker has dropped it
            self._same[kind, key] = digest, self._place(kind, key)

    def _place(self, kind: str, key: str) -> tuple[int, ...]:
        found = self._file(kind, key).stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _versions(self, kind: str, key: str) -> Versions:
        return Versions(self._bucket, f"{self._folder(kind)}/{key}")

    def _committed(self, kind: str) -> set[str]:
        """Names of the files of a kind that are in the object store."""
        names = self._bucket.below(self._folder(kind))
        return {name.partition("/")[0] for name in names if name.endswith(COMMIT)}

    def _folder(self, kind: str) -> str:
        return f"{self._under}/{kind}" if self._under else kind
