"""The objects of a run at a URL, through fsspec (https://filesystem-spec.readthedocs.io).

An object is written whole, and none is renamed: object stores cannot. An operation that fails is
repeated for some minutes, unless the store says that it would fail again.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tasearch.config.places import Url
from tasearch.errors import NOTHING_LOST, StoreError, first_line, raised
from tasearch.runs import heartbeat

PATIENCE_S = 120.0  # seconds for which an operation is repeated
PAUSE_S = 0.5  # seconds before the first repetition; each later pause is twice as long
LONGEST_PAUSE_S = 10.0
RIGHTS = "check the URL, the credentials, and that they may read, write, list and delete there"
BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss")  # without folders to be made
FOLDERS = {"file": {"auto_mkdir": True}, "local": {"auto_mkdir": True}}
REFUSED = (  # names of errors which mean that the store refuses, with whatever package
    *("PermissionError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    *("NoAuthTokenError", "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
    *(
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
        "ParamValidationError",
    ),
)
T = TypeVar("T")


class Bucket:
    """The objects below a URL.

    Args:
        url: The URL.

    Raises:
        StoreError: No package can open such a URL.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        self._fs, self._root = _opened(url)

    def read(self, name: str) -> bytes | None:
        """The content of an object; None if there is none.

        Args:
            name: The object's name below the URL.

        Raises:
            StoreError: The store is out of reach, or refuses.
        """
        try:
            return self._tried("read", name, lambda: bytes(self._fs.cat_file(self._path(name))))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of any that has its name.

        Args:
            name: The object's name below the URL.
            content: Its whole content.

        Raises:
            StoreError: The store is out of reach, or refuses.
        """
        path = self._path(name)

        def written() -> None:
            try:
                self._fs.pipe_file(path, content)
            except FileNotFoundError:
                if self.url.protocol in BUCKETS:
                    raise
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(path, content)

        try:
            self._tried("written", name, written)
        except FileNotFoundError as error:
            words = f"{self.url}: cannot be written: {first_line(error)}"
            raise StoreError(f"{words}; make the bucket first") from None

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder, without those in folders in it, sorted."""

        def listed() -> list[str]:
            self._fs.invalidate_cache()
            return [*self._fs.ls(self._path(folder), detail=False)]

        try:
            found = self._tried("listed", folder, listed)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def below(self, folder: str) -> list[str]:
        """Names of all objects below a folder, with their paths from there."""
        path = self._path(folder)

        def found() -> list[str]:
            self._fs.invalidate_cache()
            return [*self._fs.find(path)]

        try:
            paths = self._tried("listed", folder, found)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [found.removeprefix(f"{path}/") for found in paths]

    def delete(self, *names: str) -> None:
        """Delete objects, those that are there."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._tried("deleted", name, lambda name=name: self._fs.rm_file(self._path(name)))  # type: ignore[misc]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, done: str, name: str, work: Callable[[], T]) -> T:
        """The result of an operation, which is repeated while it fails."""
        until, pause = time.monotonic() + PATIENCE_S, PAUSE_S
        with heartbeat.waiting():
            while True:
                try:
                    return work()
                except (FileNotFoundError, NotADirectoryError):
                    raise
                except Exception as error:  # each backend has its own kinds
                    where = f"{self.url / name}: cannot be {done}"
                    if {kind.__name__ for kind in type(error).__mro__} & {*REFUSED}:
                        raise StoreError(
                            f"{where}: it is refused: {raised(error)}; {RIGHTS}"
                        ) from None
                    if time.monotonic() + pause > until or sys.is_finalizing():
                        raise StoreError(f"{where}: {raised(error)}; {NOTHING_LOST}") from None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)


def _opened(url: Url) -> tuple[Any, str]:
    """The file system of a URL, and the URL's path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise StoreError(
            f"{url}: a run at a URL needs fsspec: {error}; pip install 'tasearch[remote]'"
        ) from None
    options = FOLDERS.get(url.protocol, {})
    try:
        system, path = fsspec.core.url_to_fs(str(url), use_listings_cache=False, **options)
    except ImportError as error:
        raise StoreError(f"{url}: {first_line(error)}") from None
    except Exception as error:  # each backend has its own kinds
        raise StoreError(f"{url}: cannot be opened: {raised(error)}") from None
    return system, str(path).rstrip("/")
