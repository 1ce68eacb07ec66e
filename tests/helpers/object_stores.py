"""Object stores for tests: in memory, in a folder, one that fails when it is told to, and S3."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tasearch.config.places import Url
from tasearch.runs.remote import bucket, lease


class Killed(BaseException):
    """Stands for the end of the process: no handler in tasearch catches it."""


class FailingStore(MemoryFileSystem):
    """A store in memory whose writes and reads fail when it is told to."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012  # of this class, as that of its base
    pseudo_dirs = [""]  # noqa: RUF012
    writes = 0  # objects written so far
    fatal = -1  # number of the write at which the process dies
    half = False  # whether half of the object is written then
    dead = False
    error: Exception | None = None  # raised by each operation
    errors = 0  # number of operations that raise it; -1 for all

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("failing://", "memory://"))

    @classmethod
    def heal(cls) -> None:
        cls.writes, cls.fatal, cls.half, cls.dead, cls.error, cls.errors = (
            0,
            -1,
            False,
            False,
            None,
            0,
        )

    @classmethod
    def fail(cls, error: Exception, times: int = -1) -> None:
        cls.error, cls.errors = error, times

    def _check(self) -> None:
        own = type(self)
        if own.dead:
            raise Killed
        if own.error is not None and own.errors:
            own.errors -= 1
            raise own.error

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self._check()
        own = type(self)
        own.writes += 1
        if own.writes == own.fatal:
            own.dead = True
            if own.half:
                super().pipe_file(path, value[: len(value) // 2], **options)
            raise Killed
        super().pipe_file(path, value, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> bytes:
        self._check()
        return super().cat_file(path, *arguments, **options)

    def ls(self, path: str, *arguments: Any, **options: Any) -> Any:
        self._check()
        return super().ls(path, *arguments, **options)

    def rm_file(self, path: str) -> None:
        self._check()
        super().rm_file(path)


fsspec.register_implementation("failing", FailingStore, clobber=True)


def new_url(protocol: str, tmp_path: Any = None) -> Url:
    """A place for runs in an empty store."""
    if protocol == "file":
        return Url(f"file://{tmp_path}/store-{secrets.token_hex(4)}")
    return Url(f"{protocol}://{secrets.token_hex(8)}")


def objects(url: Url) -> dict[str, bytes]:
    """The content of all objects below a URL, by their names; without those deleted meanwhile."""
    system, root = fsspec.core.url_to_fs(str(url), use_listings_cache=False)
    system.invalidate_cache()
    found = {}
    for path in system.find(root):
        with contextlib.suppress(FileNotFoundError):
            found[path.removeprefix(f"{root}/")] = system.cat_file(path)
    return found


@contextlib.contextmanager
def s3_server() -> Iterator[Callable[[], Url]]:
    """A server of S3 on this machine, to which the environment leads.

    Yields:
        A function that makes a bucket.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    where = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, text in (keys | where).items():
                patch.setenv(name, text)
            system = fsspec.filesystem("s3", skip_instance_cache=True)

            def make() -> Url:
                url = new_url("s3")
                system.mkdir(url.name)
                return url

            yield make
    finally:
        server.stop()


@contextlib.contextmanager
def quick_leases() -> Iterator[None]:
    """Leases last for a second, and what fails is repeated for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(lease.SECONDS, "1")
        patch.setattr(lease, "UNCERTAIN_S", 0.0)
        patch.setattr(bucket, "PATIENCE_S", 0.5)
        patch.setattr(bucket, "PAUSE_S", 0.01)
        yield
