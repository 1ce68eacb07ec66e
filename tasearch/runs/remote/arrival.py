"""What a worker needs of a run at a URL, brought to the worker's machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasearch.config.places import Url
from tasearch.runs.folder_check import SHARED
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.data_file import fetch
from tasearch.runs.remote.run import RemoteRun, copy_folder


def arrived(setup: Mapping[str, Any]) -> dict[str, Any]:
    """A worker's setup with the paths of this machine, once the run's files and data are here.

    On the driver's own machine they are. Elsewhere the copy of the run is brought up to date, for
    the modules and weights that it may hold, and the data are fetched.

    Args:
        setup: The setup as the driver has it, see `tasearch.train.workers.pool`.

    Raises:
        StoreError: The store is out of reach, or damaged.
    """
    remote = setup["store"]["remote"]
    url = Url(remote["url"])
    RemoteRun(url).look()
    there = setup["store"]["path"].removesuffix(f"/{remote['under']}")
    here = str(copy_folder(url))
    found: dict[str, Any] = json.loads(json.dumps(setup).replace(there, here))
    if setup["data_name"] is not None and not Path(found["data"]).exists():
        file = fetch(Bucket(url), setup["data_name"], copy_folder(url) / SHARED)
        found["data"] = str(file)
    return found
