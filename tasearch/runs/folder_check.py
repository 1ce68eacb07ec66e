"""Whether a folder can become a run directory, or is one."""

from __future__ import annotations

import os
from pathlib import Path

from tasearch.config.files import is_temporary
from tasearch.errors import RunError, option
from tasearch.runs.store import KINDS

JOURNAL = "journal.log"
INPUTS = "inputs"  # data and code that were brought from Python
CONFIRM = "confirm"  # the hops of confirmations, and their verdicts
SHARED = "shared"  # data for the nodes of a cluster, while it trains
OURS = {  # what the folder of a run may hold before run.json is written
    *("lock", "locks", INPUTS, SHARED, "measurements.json", "events.jsonl", "report.html", *KINDS)
}


def check_folder_is_run(path: Path) -> None:
    """Refuse a folder that holds something other than a run.

    Args:
        path: The path of the folder, which need not exist.

    Raises:
        RunError: The path is no folder, or the folder holds other files.
    """
    another = f"give the study another name, or use another {option('runs_dir')}"
    if os.path.lexists(path / "run.json") or not os.path.lexists(path):
        return
    if not path.is_dir():
        raise RunError(f"{path}: should be a folder, and is none; {another}")
    try:
        found = sorted(path.iterdir())
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    if path / JOURNAL in found:
        return
    for file in found:
        if file.name not in OURS and not is_temporary(file):
            raise RunError(f"{path}: is no run, and holds {file.name!r}; {another}")
