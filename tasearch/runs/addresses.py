"""Stores by their addresses, which a driver gives to its workers: plain values for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasearch.config.places import Url
from tasearch.runs.store import Store


def store_address(store: Store) -> dict[str, Any]:
    """What another process needs to open the same store.

    Args:
        store: The store of a run's hops.
    """
    return {"path": str(store.path.resolve()), "remote": getattr(store, "address", None)}


def store_at(address: Mapping[str, Any], warn: Callable[[str], None]) -> Store:
    """The store with an address; of one at a URL, the copy of this machine.

    Args:
        address: What `store_address` has returned.
        warn: Function that receives a message for each damaged file.
    """
    remote = address["remote"]
    if remote is None:
        return Store(Path(address["path"]), warn)
    from tasearch.runs.remote.bucket import Bucket
    from tasearch.runs.remote.run import copy_folder
    from tasearch.runs.remote.store import RemoteStore

    url = Url(remote["url"])
    return RemoteStore(
        copy_folder(url) / remote["under"],
        warn,
        bucket=Bucket(url),
        token=remote["token"],
        under=remote["under"],
    )
