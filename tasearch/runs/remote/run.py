"""A run at a URL: a run directory in the cache folder, which follows the object store.

Whoever reads the run brings the copy here up to date first. A driver takes the lease, brings the
copy up to date, works in it as in any run directory, and commits its own files after each trial.
Hops are shared by the store (`tasearch.runs.remote.store`) as they are saved.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from tasearch.config.cache_folder import cache_folder
from tasearch.config.files import write_atomic, write_error
from tasearch.config.places import Place, Url
from tasearch.errors import RunError, TasearchError
from tasearch.runs.directory import RunDirectory
from tasearch.runs.folder_check import CONFIRM
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.data_file import deliver
from tasearch.runs.remote.driver_files import DriverFiles
from tasearch.runs.remote.lease import LEASES, Lease, alive
from tasearch.runs.remote.store import RemoteStore
from tasearch.runs.store import Store

COPY_ID = "copy-id"  # a file with a random name of this machine's copies


class RemoteRun(RunDirectory):
    """One run at a URL, which need not exist yet.

    Args:
        url: The URL of the run.

    Raises:
        DataError: There is no cache folder for the copy.
        RunError: The URL names a bucket, not a run in it.
    """

    _check_folder = staticmethod(lambda path: None)  # in the cache there are no other folders

    def __init__(self, url: Url) -> None:
        if not url.has_parent:
            raise RunError(f"{url}: names no run; a run is such as {url}/runs/digits")
        super().__init__(copy_folder(url))
        self.url = url
        self._lease: Lease | None = None
        self._new = False  # whether this lease has committed nothing yet
        self._there: dict[str, set[tuple[str, str]]] = {}  # see `RemoteStore`, by its folder

    @property
    def place(self) -> Place:
        return self.url

    @property
    def busy(self) -> bool:
        return self.busy_here or alive(self._bucket)

    def look(self) -> None:
        if not self.busy_here:  # else a driver on this machine has the newest files here
            with self._pulling():
                if not self.busy_here:
                    self._pull()

    def absolute(self) -> RunDirectory:
        return self

    def check_free(self) -> None:
        if self.busy_here:
            raise RunError(f"{self.url}: another tasearch is running or confirming it")
        self._bucket.names(LEASES)  # which needs access

    def store(
        self,
        warn: Callable[[str], None] | None = None,
        under: str = "",
        *,
        elsewhere: bool = False,
    ) -> Store:
        if self._lease is None and self.busy_here:  # a driver writes here, and has the newest
            return super().store(warn, under)
        return self._store(warn, under, elsewhere=elsewhere)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with super().locked():
            if self._lease is not None:
                yield
                return
            self._take()
            try:
                yield
            except BaseException:
                with contextlib.suppress(TasearchError):  # the first error says more
                    self._give()
                raise
            self._give()

    def writing(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self.busy_here else self.locked()

    def deliver(self, file: Path) -> str | None:
        return deliver(self._bucket, file)

    def publish(self) -> None:
        if self._lease is not None:
            self._lease.confirm()
            self._files.commit(self._lease.token, anew=self._new)
            self._new = False

    def check_held(self) -> None:
        if self._lease is not None:
            self._lease.check()

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(self.url)

    @cached_property
    def _files(self) -> DriverFiles:
        return DriverFiles(self._bucket, self.path)

    def _store(
        self, warn: Callable[[str], None] | None, under: str, *, elsewhere: bool = False
    ) -> RemoteStore:
        known = self._lease is not None and not elsewhere
        return RemoteStore(
            self.path / under,
            warn or (lambda message: None),
            bucket=self._bucket,
            token=self._lease.token if self._lease else None,
            under=under,
            there=self._there.get(under) if known else None,
            strict=warn is None,
        )

    def _take(self) -> None:
        """Take the lease, and bring the copy here up to date."""
        copy_id = _copy_id(self.path.parent)
        self._lease = Lease(self._bucket, self._files.versions, copy_id, self.tell_wait)
        try:
            with self._pulling():
                there = self._pull()
            for under in ("", CONFIRM):
                store = self._store(lambda message: None, under)
                if there:
                    self._there[under] = store.publish_unshared()
                else:
                    store.forget()
                    self._there[under] = set()
            self._new = True
        except BaseException:
            self._release()
            raise

    def _give(self) -> None:
        """Commit what has changed, and give the lease back."""
        self._new = False
        try:
            self.publish()
        finally:
            self._release()

    def _release(self) -> None:
        assert self._lease is not None
        lease, self._lease = self._lease, None
        self._there.clear()
        lease.release()

    def _pull(self) -> bool:
        shutil.rmtree(self.extension, ignore_errors=True)  # of a killed driver
        return self._files.pull()

    @contextlib.contextmanager
    def _pulling(self) -> Iterator[None]:
        """A context in which one process of this machine brings the copy up to date."""
        file = self.path.with_name(f".{self.path.name}.pull")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file):
                yield
        except OSError as error:
            raise write_error(file, error) from None


def copy_folder(url: Url) -> Path:
    """The folder of the copy of a run on this machine.

    Args:
        url: The run's URL.

    Raises:
        DataError: The user has no home folder, and names no cache folder.
    """
    place = hashlib.sha256(str(url.parent).encode()).hexdigest()[:16]
    return cache_folder() / "runs" / place / url.name


def _copy_id(folder: Path) -> str:
    """A name for the copies in a folder on this machine; others may see the folder too."""
    file = folder / COPY_ID
    if not file.is_file():
        write_atomic(file, secrets.token_hex(16).encode())
    return f"{file.read_text()} on {socket.gethostname()}"
