"""What a study names and is not there, told before torch is imported: nothing is read or run.

A search finds all of this out by itself as well, some seconds later and in the same words.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tasearch.config.arguments import (
    check_device,
    check_folder,
    check_path,
    check_utf8,
    check_workers,
)
from tasearch.config.files import not_regular
from tasearch.config.study import Study
from tasearch.errors import DataError, ModelError, StudyError
from tasearch.runs.directory import RunDirectory


def check_early(
    study: Study, *, runs_dir: Path, device: str, workers: str, latency_from: str | None
) -> None:
    """Refuse whatever can be refused without reading data and without importing models.

    Args:
        study: The study; its root is absolute.
        runs_dir: The folder that runs are kept in.
        device: What `--device` says.
        workers: What `--workers` says.
        latency_from: The run that `--latency-from` names.

    Raises:
        TasearchError: whatever is wrong.
    """
    check_device(device, "--device")
    check_workers(workers, "--workers")
    run = check_path(runs_dir, "--runs-dir") / study.name
    check_utf8(run, "--runs-dir")
    check_folder(run, "--runs-dir")
    RunDirectory(run).check_free()
    if latency_from is not None:
        RunDirectory.open(latency_from, runs_dir)
    _check_data(study)
    _check_checkpoint(study)
    for path, name in study.own_functions:
        _check_module(path, name, study.root)


def _check_data(study: Study) -> None:
    given = study.data.path
    if given is None:
        return
    path, folders = Path(study.root) / given, study.data.source == "parquet"
    where = f"(data.path = {given!r})"
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        what = "data file or folder" if folders else "data file"
        raise DataError(f"{path}: no such {what} {where}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} {where}") from None
    words = None if folders and path.is_dir() else not_regular(path)
    if words is None and not os.access(path, os.R_OK):
        words = "Permission denied"
    if words is not None:
        raise DataError(f"{path}: cannot be read: {words} {where}")


def _check_checkpoint(study: Study) -> None:
    if study.teacher.checkpoint is None:
        return
    path = Path(study.root) / study.teacher.checkpoint
    try:
        path.stat()
    except OSError as error:
        raise ModelError(f"teacher.checkpoint: {path}: {error.strerror}") from None
    words = not_regular(path)
    if words is None and not os.access(path, os.R_OK):
        words = "Permission denied"
    if words is not None:
        raise ModelError(f"teacher.checkpoint: {path}: {words}")


def _check_module(path: str, name: str, root: str) -> None:
    """Whether a user's module has a file, as far as can be told without importing anything."""
    parts = name.partition(":")[0].split(".")
    places: Sequence[str] | None = None
    for i in range(1, len(parts) + 1):
        module = ".".join(parts[:i])
        if module in sys.modules:
            return
        found = _spec(module, root, places)
        if found is None:
            raise StudyError(
                f"{path}: {name!r}: No module named {module!r}; "
                f"looked in {root} and the Python path"
            )
        file, places = found
        if places is None or _makes_modules(file):
            return


def _spec(
    module: str, root: str, places: Sequence[str] | None
) -> tuple[str | None, list[str] | None] | None:
    """The file of a module, and where the modules in it are looked for if it is a package.

    Args:
        module: Its whole name.
        root: The study's.
        places: Where its package's modules are looked for; None where it is in no package.
    """
    sys.path.insert(0, root)  # the places of a package without a file depend on it when read
    try:
        importlib.invalidate_caches()
        if places is not None:
            spec = importlib.machinery.PathFinder.find_spec(module, places)
        else:
            spec = importlib.util.find_spec(module)  # of a name without dots: imports nothing
        if spec is None:
            return None
        within = spec.submodule_search_locations
        return spec.origin, None if within is None else [*within]
    finally:
        sys.path.remove(root)


def _makes_modules(file: str | None) -> bool:
    """Whether a package may have modules that no file is named after."""
    try:
        source = Path(file).read_text("utf-8", "replace") if file else ""
    except OSError:
        return True
    return "__path__" in source or "sys.modules" in source
