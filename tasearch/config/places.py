"""Where runs are kept: in a folder, or at a URL of an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tasearch.config.arguments import check_path
from tasearch.errors import RunError, quoted

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True)
class Url:
    """A place in an object store, or in another file system that fsspec knows.

    Args:
        text: Such as `s3://bucket/runs`, without a slash at the end.

    Example:
        >>> print(Url("s3://bucket/runs") / "digits")
        s3://bucket/runs/digits
    """

    text: str

    def __truediv__(self, name: str | Path) -> Url:
        return Url(f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text

    @property
    def protocol(self) -> str:
        """The part before `://`."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The part behind the last slash."""
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The place that this one is in."""
        return Url(self.text.rpartition("/")[0])

    @property
    def has_parent(self) -> bool:
        """Whether it has a name in another place, and is no bucket itself."""
        return "/" in self.text.partition("://")[2].lstrip("/")


Place = Path | Url


def check_place(value: object, name: str) -> Place:
    """Check the path or the URL of a place, which need not exist.

    Args:
        value: The value of the argument: a str, a path, or a `Url`.
        name: The argument's name, for the message.

    Raises:
        RunError: No place could be there.

    Example:
        >>> check_place("s3://bucket/runs/", "runs_dir")
        Url(text='s3://bucket/runs')
    """
    if isinstance(value, Url):
        return value
    found = _URL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return check_path(value, name)
    protocol, rest = found[1], found[2].rstrip("/")
    if not rest or "::" in rest or not rest.isprintable():
        rule = "should be a URL such as s3://bucket/runs"
        raise RunError(f"{name}: {rule}, found {quoted(value)}")
    user = rest.partition("/")[0].rpartition("@")[0]
    if ":" in user:
        raise RunError(
            f"{name}: should have no password in it; give it to {protocol} by its environment "
            f"variables or its configuration"
        )
    return Url(f"{protocol}://{rest}")


def absolute(place: Place) -> Place:
    """The same place in whatever folder the process is later."""
    return place if isinstance(place, Url) else place.absolute()
